"""Episodes of Minari as the columns and extras of an MDPDataset."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.families import minari_spaces as values
from offlinekit.datasets.families.minari_episodes import Episode, decode
from offlinekit.datasets.spaces import Space
from offlinekit.datasets.validation import as_flags
from offlinekit.errors import FileFormatError
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array

PREFIX = "minari/"
"""Of the names of extras that hold a column as it was stored."""


def columns_of(
    episodes: list[Episode], seen: Space, acts: Space, exact: bool
) -> tuple[dict[str, Any], dict[str, Array], dict[str, Array]]:
    """Returns arguments of MDPDataset, and what of the columns goes into its extras, by row and by episode.

    Args:
        episodes: What was read.
        seen: Space of the observations.
        acts: Space of the actions.
        exact: Whether what float32 does not hold goes into the extras.

    Raises:
        FileFormatError: For columns of differing length.
    """
    _check_lengths(episodes, [name for name, _ in values.leaf_spaces(seen, "observations")])
    lengths = np.array([len(episode.columns["rewards"]) for episode in episodes])
    extras: dict[str, Array] = {}
    episode_extras = {
        "minari/attributes": np.array([json.dumps(e.attributes).encode() for e in episodes], np.bytes_)
    }
    rows, finals = {}, {}
    for name, space in values.leaf_spaces(seen, "observations"):
        now = join([episode.columns[name][:-1] for episode in episodes], name)
        last = join([episode.columns[name][-1:] for episode in episodes], name)
        rows[name], finals[name] = _features(now, space), _features(last, space)
        if exact and not (_same(rows[name], now) and _same(finals[name], last)):
            extras[PREFIX + name], episode_extras[PREFIX + name] = now, last
    flat = {
        name: join([episode.columns[name] for episode in episodes], name)
        for name in (
            *(name for name, _ in values.leaf_spaces(acts, "actions")),
            *("rewards", "terminations", "truncations"),
        )
    }
    columns: dict[str, Any] = {
        "observations": values.tree_of(seen, rows, "observations"),
        "final_observations": values.tree_of(seen, finals, "observations"),
        "actions": values.tree_of(acts, flat, "actions"),
        "rewards": flat["rewards"].astype(np.float32),
        "final_known": [bool(decode(episode.attributes.get("final_known", True))) for episode in episodes],
        **_ends(flat, lengths),
    }
    stored = {"rewards": columns["rewards"], "terminations": columns["terminals"]}
    stored |= {"truncations": columns["episode_terminals"] & ~columns["terminals"]}
    if "actions" in flat and flat["actions"].dtype.kind == "f":
        stored["actions"] = flat["actions"].astype(np.float32)
    kept = {PREFIX + name: flat[name] for name, column in stored.items() if not _same(column, flat[name])}
    return columns, extras | (kept if exact else {}), episode_extras


def _check_lengths(episodes: list[Episode], observations: list[str]) -> None:
    for i, episode in enumerate(episodes):
        scalar = next((name for name, column in episode.columns.items() if column.ndim == 0), None)
        if scalar is not None:
            raise FileFormatError(f"episode {i} has a single value as {scalar}, expected one for each step")
        steps = len(episode.columns["rewards"])
        if steps == 0:
            raise FileFormatError(
                f"episode {i} has no step, expected at least one; write the dataset without it"
            )
        for name, column in episode.columns.items():
            expected = steps + (name in observations)
            if len(column) != expected:
                raise FileFormatError(
                    f"episode {i} has {len(column)} {name} to {steps} rewards, expected {expected}"
                )


def _ends(flat: dict[str, Array], lengths: Array) -> dict[str, Array]:
    last = np.zeros(len(flat["rewards"]), np.bool_)
    last[np.cumsum(lengths) - 1] = True
    terminals = as_flags(flat["terminations"], "terminations")
    early = int((terminals & ~last).sum())
    if early:
        warn_caller(
            f"{early} steps are terminations though their episode goes on; only one at the end counts"
        )
    return {"terminals": terminals & last, "episode_terminals": last}


def _features(leaf: Array, space: Space) -> Array:
    features = values.as_features(leaf, space)
    is_bytes = isinstance(space, spaces.Box) and features.dtype == np.uint8
    return features if is_bytes else features.astype(np.float32)


def _same(column: Array, stored: Array) -> bool:
    return column.size == stored.size and bool((column.ravel() == stored.ravel()).all())


def infos_of(episodes: list[Episode]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Returns infos that all episodes have, by row, and by episode those after the last step."""
    rows, finals, dropped = {}, {}, []
    for name in sorted({name for episode in episodes for name in episode.infos}):
        parts = [episode.infos.get(name) for episode in episodes]
        surplus = _surplus(parts, [len(episode.columns["rewards"]) for episode in episodes])
        if surplus is None:
            dropped.append(name)
            continue
        key = "behavior_log_probs" if name == "infos/behavior_log_probs" else name
        rows[key] = np.concatenate([part[: len(part) - surplus] for part in parts if part is not None])
        if surplus:
            finals[key] = np.stack([part[-1] for part in parts if part is not None])
    if dropped:
        warn_caller(f"{', '.join(dropped)} differ between episodes and are left out")
    return rows, finals


def _surplus(parts: list[Array | None], lengths: list[int]) -> int | None:
    """Returns how many entries more than steps an info has, 0 or 1; None where it is no column."""
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    kinds = {(part.dtype, part.shape[1:], len(part) - n) for part, n in zip(known, lengths, strict=True)}
    surplus = next(iter(kinds))[2]
    return surplus if len(kinds) == 1 and surplus in (0, 1) and 0 not in known[0].shape[1:] else None

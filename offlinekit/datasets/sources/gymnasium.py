"""Gymnasium: what a loop over `env.step` recorded, as arrays named after its results in an NPZ or HDF5 file.

Row t holds the observation before step t, the action of step t and the reward that the action earned (SAR).
Columns are [N, ...] of one environment, or [T, n_envs, ...] of a vector environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.formats.array_files import SUFFIXES, names_in, names_under, read_arrays, tree_at
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_array, as_flags, check_columns
from offlinekit.errors import DatasetError, FileFormatError
from offlinekit.types import Array, first_leaf, map_tree, rows

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree

COLUMNS = {
    "observations": ("observations", "observation", "obs"),
    "actions": ("actions", "action"),
    "rewards": ("rewards", "reward"),
    "terminals": ("terminations", "terminated", "terminateds"),
    "timeouts": ("truncations", "truncated", "truncateds"),
    "next_observations": ("next_observations", "next_observation", "next_obs"),
}
"""Names of each column, in the plural or singular of Gymnasium's own words."""
AUTORESETS = ("disabled", "next_step", "same_step")


def read(
    path: Path,
    *,
    autoreset: str | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a recording of Gymnasium.

    One more observation than actions is the last final observation.

    Args:
        path: The NPZ or HDF5 file.
        autoreset: How the vector environment began episodes: "next_step" (Gymnasium's own way: the step after an
            end ignores its action, and its row, which is left out, holds the final observation), "same_step"
            or "disabled". Needed for [T, n_envs, ...]; "disabled" for one environment.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file or one without the columns.
        DatasetError: For a vector recording without `autoreset`, or data that cannot be a dataset.
    """
    names = names_in(path)
    names_in_file = {ours: _named(names, theirs) for ours, theirs in COLUMNS.items()}
    lacking = [
        COLUMNS[ours][0]
        for ours, name in names_in_file.items()
        if name is None and ours != "next_observations"
    ]
    if lacking:
        raise FileFormatError(f"{path} has no {', '.join(lacking)}; it has {', '.join(names)}")
    tops = {ours: name for ours, name in names_in_file.items() if name is not None}
    arrays = read_arrays(path, [name for top in tops.values() for name in names_under(names, top)])
    columns = {ours: tree_at(arrays, name) for ours, name in tops.items()}
    _check(columns)
    if columns["rewards"].ndim == 2 and columns["rewards"].shape[1] > 1 and autoreset is None:
        raise DatasetError(
            f"a recording of {columns['rewards'].shape[1]} environments needs autoreset={AUTORESETS}"
        )
    if autoreset is not None and autoreset not in AUTORESETS:
        raise ValueError(f"autoreset must be one of {AUTORESETS}, got {autoreset!r}")
    parts = [_episodes(stream, autoreset or "disabled") for stream in _streams(columns)]
    if clip_actions:
        parts = [{**part, "actions": clip(part["actions"], action_space)} for part in parts]
    columns = {name: join([part[name] for part in parts], name) for name in parts[0]}
    return {**columns, "action_space": action_space, "name": path.stem}


def _check(columns: dict[str, Any]) -> None:
    """Raises DatasetError unless the columns are as long as the rewards; observations may be one longer."""
    shapes = {name: as_array(columns[name], name).shape[:2] for name in ("rewards", "terminals", "timeouts")}
    if len(set(shapes.values())) > 1:
        raise DatasetError(f"rewards, terminations and truncations must have one shape, got {shapes}")
    n_rows = len(np.atleast_1d(columns["rewards"]))
    observations = map_tree(
        lambda leaf: leaf[:-1] if leaf.ndim and len(leaf) == n_rows + 1 else leaf, columns["observations"]
    )
    check_columns({**columns, "observations": observations}, "rewards")


def _named(names: list[str], known: tuple[str, ...]) -> str | None:
    return next((name for name in known if names_under(names, name)), None)


def _streams(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the columns of each environment."""
    if columns["rewards"].ndim == 1:
        return [columns]
    return [map_tree(lambda leaf, i=i: leaf[:, i], columns) for i in range(columns["rewards"].shape[1])]


def _episodes(columns: dict[str, Any], autoreset: str) -> dict[str, Any]:
    """Returns arguments of MDPDataset for the stream of one environment."""
    n_rows = len(columns["rewards"])
    terminals = as_flags(columns["terminals"], "terminations")
    cut = as_flags(columns["timeouts"], "truncations") & ~terminals
    ends = terminals | cut
    kept = np.ones(n_rows, np.bool_)
    if autoreset == "next_step":
        kept[1:] = ~_ended_before(ends)
    index = np.flatnonzero(kept)
    last = ends[index]
    last[-1] = True
    arguments = {
        "observations": rows(columns["observations"], index),
        "actions": columns["actions"][index],
        "rewards": columns["rewards"][index],
        "terminals": terminals[index],
        "episode_terminals": last,
    }
    if "next_observations" in columns:
        return {**arguments, "next_observations": rows(columns["next_observations"], index)}
    return {**arguments, **_finals(columns["observations"], index[last], n_rows, ends, autoreset)}


def _ended_before(ends: Array) -> Array:
    """Returns bool [N - 1], whether the row above is a step's end; a row that is left out ends nothing."""
    skipped = np.zeros(len(ends), np.bool_)
    for row in np.flatnonzero(ends[:-1]):
        skipped[row + 1] = not skipped[row]
    return skipped[1:]


def _finals(observations: ArrayTree, last: Array, n_rows: int, ends: Array, autoreset: str) -> dict[str, Any]:
    """Returns the final observations that other rows hold: the one below under "next_step", or one too many."""
    n_seen = len(first_leaf(observations))
    known = last + 1 < n_seen
    if autoreset != "next_step":
        known &= last + 1 == n_rows  # Below any other end stands a new episode's first one.
        known &= ~ends[last] | (autoreset == "disabled")
    below = np.minimum(last + 1, n_seen - 1)
    return {"final_observations": map_tree(lambda leaf: leaf[below], observations), "final_known": known}


def recognises(path: Path) -> bool:
    """Returns whether a file has rewards, terminations and truncations under Gymnasium's names."""
    names = names_in(path)
    wanted = ("observations", "actions", "rewards", "terminals", "timeouts")
    return all(_named(names, COLUMNS[column]) is not None for column in wanted)


SOURCE = Source(
    summary="A recording of Gymnasium: observations, actions, rewards, terminations, truncations.",
    suffixes=SUFFIXES,
    recognises=recognises,
    keys=tuple(name for names in COLUMNS.values() for name in names),
    read=read,
)

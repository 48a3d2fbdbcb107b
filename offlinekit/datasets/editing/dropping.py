"""Leaves out episodes that hold NaN or infinities, where that was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from offlinekit.datasets import episodes, validation
from offlinekit.errors import DatasetError
from offlinekit.types import Array, leaves, map_tree

Nonfinite: TypeAlias = Literal["refuse", "drop"]

ROWS = (
    "observations",
    "actions",
    "rewards",
    "terminals",
    "episode_terminals",
    "timeouts",
    "next_observations",
    "behavior_log_probs",
    "extras",
)
"""Arguments of MDPDataset with one entry a row."""
EPISODES = ("final_observations", "final_known", "episode_extras")
"""Those with one an episode."""
CHECKED = ("observations", "actions", "rewards", "next_observations", "behavior_log_probs")
"""Those of ROWS that must be finite."""

_CHOSEN: ContextVar[Nonfinite] = ContextVar("nonfinite", default="refuse")


@contextmanager
def nonfinite_chosen(choice: Nonfinite) -> Iterator[None]:
    """Says what datasets made within do with values that are not finite, where they are not told themselves.

    Raises:
        ValueError: For another word than "refuse" and "drop".
    """
    token = _CHOSEN.set(_checked(choice))
    try:
        yield
    finally:
        _CHOSEN.reset(token)


def is_dropping(choice: Nonfinite | None) -> bool:
    """Returns whether episodes with values that are not finite are left out."""
    return (_CHOSEN.get() if choice is None else _checked(choice)) == "drop"


def _checked(choice: Nonfinite) -> Nonfinite:
    if choice not in get_args(Nonfinite):
        raise ValueError(f"nonfinite must be 'refuse' or 'drop', got {choice!r}")
    return choice


def without_nonfinite(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments of MDPDataset without such episodes, with a warning; the same object where there are none.

    Raises:
        DatasetError: Where no episode is left, or the columns make no episodes.
    """
    n_rows = len(validation.as_vector(arguments["rewards"], "rewards"))
    validation.check_columns(
        {name: arguments[name] for name in CHECKED if arguments[name] is not None}, "rewards"
    )
    _, _, starts, stops = episodes.find_episodes(
        arguments["terminals"], arguments["timeouts"], arguments["episode_terminals"], n_rows
    )
    wrong = np.zeros(len(stops), np.bool_)
    checked = [arguments[name] for name in CHECKED]
    checked.append((arguments["extras"] or {}).get("behavior_log_probs"))  # How readers pass it on.
    for leaf in (leaf for tree in checked if tree is not None for leaf in leaves(tree)):
        wrong |= np.logical_or.reduceat(_not_finite(leaf), starts)
    if arguments["final_observations"] is not None:
        for leaf in leaves(arguments["final_observations"]):
            wrong |= _not_finite(leaf) & _known(arguments, len(stops))
    if not wrong.any():
        return arguments
    if wrong.all():
        raise DatasetError(f"each of the {len(stops)} episodes holds NaN or infinities, so none is left")
    keep_rows = np.repeat(~wrong, stops - starts)
    warnings.warn(
        f"{int(wrong.sum()):,} of {len(stops):,} episodes were left out, which hold NaN or infinities, the first of "
        f"them episode {int(np.argmax(wrong))}; {int(keep_rows.sum()):,} of {n_rows:,} rows are left",
        stacklevel=4,
    )
    kept = {name: _kept(arguments[name], keep_rows) for name in ROWS}
    return {**arguments, **kept, **{name: _kept(arguments[name], ~wrong) for name in EPISODES}}


def _not_finite(leaf: Any) -> Array:
    """Returns bool [N]: whether a row holds NaN, an infinity, or what is one as float32."""
    array = np.asarray(leaf)
    if array.dtype.kind != "f":
        return np.zeros(len(array), np.bool_)
    finite: Array = np.isfinite(validation.as_float32(array).reshape(len(array), -1))
    wrong: Array = np.logical_not(np.logical_and.reduce(finite, axis=1))
    return wrong


def _known(arguments: dict[str, Any], n_episodes: int) -> Array:
    known = arguments["final_known"]
    return np.ones(n_episodes, np.bool_) if known is None else validation.as_flags(known, "final_known")


def _kept(tree: Any, mask: Array) -> Any:
    return None if tree is None else map_tree(lambda leaf: np.asarray(leaf)[mask], tree)

"""Terminals of what recorders say in other words: `done` flags, set at every end of an episode, and discounts."""

from __future__ import annotations

import numpy as np

from offlinekit.datasets.findings import refuse_first
from offlinekit.datasets.validation import not_finite
from offlinekit.errors import DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array


def without_limit(terminals: Array, last: Array, step_limit: int | None, name: str) -> Array:
    """Returns terminals [N] without those that only a step limit set, or warns that they look so.

    Args:
        terminals: bool [N], as recorded.
        last: bool [N], the last rows of episodes.
        step_limit: Rows of the longest episode, or None if it is not known.
        name: Of the flag, for the message.
    """
    ends = np.flatnonzero(last)
    lengths = np.diff(ends, prepend=-1)
    if step_limit is not None:
        kept: Array = terminals.copy()
        kept[ends[lengths >= step_limit]] = False
        return kept
    if _look_limited(lengths[terminals[ends]]):
        warn_caller(
            f"most episodes that end by {name!r} have {lengths.max()} rows, the most of all: where that is a time "
            f"limit and no end of the MDP, pass step_limit={lengths.max()}",
            DatasetWarning,
        )
    return terminals


def _look_limited(lengths: Array) -> bool:
    return len(lengths) > 2 and bool((lengths == lengths.max()).mean() > 0.5)


def ends_of(discounts: Array, field: str) -> Array:
    """Returns bool [N], where the MDP ended: the discounts that are 0.

    Raises:
        DatasetError: For discounts that are not finite, which say neither.
    """
    refuse_first(not_finite(discounts, field))
    ended: Array = discounts == 0
    return ended


def warn_of_no_rewards(missing: str, remedy: str = "learn by imitation alone") -> None:
    """Warns that a recording holds no rewards, which are then 0.

    Args:
        missing: What it lacks, such as "feature 'next.reward'".
        remedy: What to do.
    """
    warn_caller(f"the dataset has no {missing}, so that rewards are 0: {remedy}", DatasetWarning)

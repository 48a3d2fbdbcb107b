"""Transforms of rewards that the literature applies to D4RL's families, and datasets that are known to be faulty."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from offlinekit.datasets.draft import Draft
from offlinekit.datasets.schema import Columns
from offlinekit.errors import DatasetError
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array


class KnownFaultWarning(UserWarning):
    """A recorded dataset that is known to be wrong in a way that matters; says how to read it right."""


def _iql(rewards: Array, returns: Array) -> Array:
    spread = float(returns.max() - returns.min())
    if spread == 0:
        raise DatasetError(
            "reward_transform='iql' divides by the range of the episodes' returns, but all are equal"
        )
    return np.asarray(rewards * np.float32(1000.0 / spread))


TRANSFORMS: dict[str, Callable[[Array, Array], Array]] = {
    "iql": _iql,
    "r-1": lambda rewards, _: rewards - 1,
    "10r-5": lambda rewards, _: 10 * rewards - 5,
    "4(r-.5)": lambda rewards, _: 4 * (rewards - np.float32(0.5)),
    "100r": lambda rewards, _: 100 * rewards,
}
"""Functions of rewards [N] and episode returns [E].

iql: IQL and what follows it (XQL, IDQL) on locomotion: 1000 / (highest - lowest return). r-1: IQL, XQL, IDQL, SPOT and
FQL on antmaze. 10r-5: Cal-QL, and CQL in its code, on antmaze. 4(r-.5): the first code of CQL, and Diffusion-QL, on
antmaze. 100r: ReBRAC on antmaze.
"""

FAULTS = (
    (
        r"antmaze-.*-v0",
        "step_limit",
        "its timeouts are out of step with the resets of the maze (in antmaze-medium-play-v0 two rows early), so "
        "transitions go from one trajectory to the next; step_limit=1001 cuts after as many rows, or read v2",
    ),
    (
        r"antmaze-umaze-diverse-v\d",
        None,
        "it has one reward a trajectory even if the goal was kept, so its scores do not compare with those of "
        "the other antmaze datasets",
    ),
    (
        r"maze2d-.*",
        "alignment",
        "a row's reward is that of the state before its action; alignment='RSA' gives each action what it led to",
    ),
)
"""Name, the option that mends it, and what is wrong."""


JUMP = 10.0
"""An agent that is set back to its start moves by so many of its usual steps at once."""


def warn_of_faults(name: str, mended: dict[str, bool], columns: Columns) -> None:
    """Warns of what is known to be wrong with a dataset, if it is so in this file and not mended by an option.

    Args:
        name: D4RL's.
        mended: Whether an option of this name was given.
        columns: Of the file.
    """
    for pattern, option, text in FAULTS:
        is_known = re.fullmatch(pattern, name) is not None and not mended.get(option or "", False)
        if is_known and not (option == "step_limit" and ends_at_jumps(columns)):
            warn_caller(f"{name}: {text}", KnownFaultWarning)


def ends_at_jumps(columns: Columns) -> bool:
    """Returns whether a place, the first two observations, jumps after each timeout but a last row's, and only there.

    Args:
        columns: observations [N, ...], terminals and, if the file has them, timeouts, bool [N].
    """
    ends, observations = columns.get("timeouts"), columns["observations"]
    if ends is None or not ends[:-1].any() or observations.ndim != 2:
        return False
    way = np.linalg.norm(np.diff(observations[:, :2], axis=0), axis=1)
    jumps = way > JUMP * np.median(way)
    return bool((jumps == ends[:-1])[~columns["terminals"][:-1]].all())


def with_reward_transform(columns: Columns, name: str) -> Columns:
    """Returns arguments of MDPDataset whose rewards are those of one of `TRANSFORMS`; the metadata say by which."""
    draft = Draft(columns)
    metadata = {**columns.get("metadata", {}), "reward_transform": name}
    if draft.episodes is None:  # The rules say why.
        return {**columns, "metadata": metadata}
    rewards = draft.columns["rewards"]
    returns = np.add.reduceat(rewards, draft.episodes.starts, dtype=np.float64)
    return {**columns, "metadata": metadata, "rewards": TRANSFORMS[name](rewards, returns).astype(np.float32)}

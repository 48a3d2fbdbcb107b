"""D4RL's conversion of its files into transitions, reproduced row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.validation import same_rows
from offlinekit.errors import DatasetError
from offlinekit.types import Array, rows

if TYPE_CHECKING:
    import h5py


def cut_at_limit(terminals: Array, limit: int, *, after_terminal: int = 0) -> Array:
    """Returns bool [N], set at each row where an episode of `limit` rows is full.

    Args:
        terminals: bool [N]; a terminal begins a new count.
        limit: Rows of the longest episode, at least 1.
        after_terminal: What the count begins at after a terminal: 0, or 1 as D4RL's loop has it.
    """
    if limit < 1:
        raise ValueError(f"step_limit must be at least 1, got {limit}")
    full = np.zeros(len(terminals), np.bool_)
    start, count = 0, 0
    for end in [*(np.flatnonzero(terminals) + 1).tolist(), len(terminals)]:
        full[start + (limit - 1 - count) % limit : end : limit] = True
        count = 0 if end == start or full[end - 1] else after_terminal
        start = end
    return full


def qlearning_columns(columns: dict[str, Any], step_limit: int | None) -> dict[str, Any]:
    """Returns arguments of MDPDataset with exactly the transitions of D4RL's `qlearning_dataset`.

    Row i is paired with row i + 1 of the file. Rows with a timeout are left out, and so is the last row
    of the file. After a terminal the next observation is the first one of the next episode, as there.

    Args:
        columns: observations, actions, rewards, terminals and, if the file has them, timeouts and extras.
        step_limit: Rows of the longest episode, in place of the timeouts.

    Raises:
        DatasetError: If there are neither timeouts nor a limit, or no transition is left.
    """
    terminals, timeouts = columns["terminals"], columns.get("timeouts")
    if step_limit is not None:
        timeouts = cut_at_limit(terminals, step_limit, after_terminal=1)
    if timeouts is None:
        raise DatasetError("the file has no timeouts; transitions='d4rl' then needs step_limit=, e.g. 1000")
    keep = ~timeouts
    keep[-1] = False
    index = np.flatnonzero(keep)
    if len(index) == 0:
        raise DatasetError(
            "transitions='d4rl' leaves no transition: every row has a timeout or is the last one"
        )
    last = terminals[index] | np.append(np.diff(index) > 1, True)
    kept = {name: columns[name][index] for name in ("observations", "actions", "rewards", "terminals")}
    return {
        **kept,
        "extras": rows(columns.get("extras", {}), index),
        "episode_terminals": last,
        "final_observations": columns["observations"][index[last] + 1],
    }


def shifted_columns(columns: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments of MDPDataset for a file whose row t holds the reward and the end that led to its state.

    The last row of each episode is only the observation after the one before it.

    Args:
        columns: As of `qlearning_columns`.

    Raises:
        DatasetError: If no episode has two rows.
    """
    terminals = columns["terminals"]
    ends = last_rows(columns, None)
    index = np.flatnonzero(~ends)
    if len(index) == 0:
        raise DatasetError("alignment='RSA' leaves no transition: no episode has two rows")
    last = ends[index + 1]
    return {
        "observations": columns["observations"][index],
        "actions": columns["actions"][index],
        "rewards": columns["rewards"][index + 1],
        "terminals": terminals[index + 1],
        "episode_terminals": last,
        "final_observations": columns["observations"][index[last] + 1],
        "extras": rows(columns.get("extras", {}), index),
    }


def last_rows(columns: dict[str, Any], step_limit: int | None) -> Array:
    """Returns bool [N], where episodes end: at terminals, and at the limit or else at timeouts.

    Args:
        columns: terminals and, if the file has them, timeouts.
        step_limit: Rows of the longest episode, in place of the timeouts.
    """
    terminals = columns["terminals"]
    cut = columns.get("timeouts", False) if step_limit is None else cut_at_limit(terminals, step_limit)
    last: Array = terminals | cut
    last[-1:] = True
    return last


def finals_of_shift(file: h5py.File, key: str, observations: Array, last: Array) -> Array | None:
    """Returns the next observation of each episode's last row; None if another one is not the row below.

    The column is read block by block, so that it is never in memory.

    Args:
        file: An open HDF5 file.
        key: Of the next observations.
        observations: float32 [N, ...].
        last: bool [N], where episodes end.
    """
    if len(observations) == 0 or hdf5.member(file, key).shape != observations.shape:
        return None
    finals = []
    for start, following in hdf5.read_blocks(file, key, dtype=np.float32):
        ends = last[start : start + len(following)]
        below = observations[start + 1 : start + 1 + len(following)]
        if not same_rows(following[: len(below)], below, but=ends[: len(below)]):
            return None
        finals.append(following[ends])
    return np.concatenate(finals)

"""Beginnings and ends of episodes, and what follows a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offlinekit.datasets.findings import Finding, fault
from offlinekit.datasets.validation import same_rows
from offlinekit.errors import DatasetError, did_you_mean
from offlinekit.types import Array, map_tree, rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.datasets.mdp_dataset import MDPDataset
    from offlinekit.types import ArrayTree


DENIED = "must not be set where episode_terminals is not, got 1"
"""Message about a terminal or a timeout within an episode."""


class Episodes(NamedTuple):
    """Row ranges of E episodes over N rows; each ends by exactly one of a terminal or a timeout."""

    terminals: Array  # bool [N]
    timeouts: Array  # bool [N]
    starts: Array  # int64 [E]
    ends: Array  # int64 [E], exclusive.


def denied_ends(flags: dict[str, Array]) -> Iterator[Finding]:
    """Yields a fault for each of terminals and timeouts that is set where `episode_terminals` is not."""
    last = flags.get("episode_terminals")
    for name in ("terminals", "timeouts"):
        if last is None or name not in flags:
            continue
        wrong = np.flatnonzero(flags[name][:-1] & ~last[:-1])
        if len(wrong):
            yield fault(name, DENIED, _fix_of(name, flags), wrong)


def _fix_of(name: str, flags: dict[str, Array]) -> str:
    last = flags["episode_terminals"]
    is_apart = not (flags[name] & last).any()
    if (
        name == "terminals" and "timeouts" not in flags and is_apart
    ):  # As d3rlpy's terminals and timeouts are.
        return (
            "episode_terminals, the fifth argument, marks the last row of every episode; if it marks time limits "
            "alone, as d3rlpy's fifth argument does, pass it by name: timeouts=..."
        )
    return (
        f"if those rows end an episode pass episode_terminals=np.maximum(episode_terminals, {name}), if they do not "
        f"{name}={name} * episode_terminals"
    )


def cut_into_episodes(flags: dict[str, Array]) -> Episodes:
    """Returns the episodes of N rows; a tail without an end is closed as a timeout.

    Args:
        flags: bool [N] by name, which do not contradict one another: "terminals", set where the MDP ended, which wins
            over a timeout at the same row; "timeouts", set where only the recording ended; "episode_terminals", set
            at every episode's last row, whatever the reason. The first is needed.
    """
    ended, cut = flags["terminals"], flags.get("timeouts")
    last = flags.get("episode_terminals")
    last = (ended.copy() if cut is None else ended | cut) if last is None else last.copy()
    last[-1] = True
    ends = np.flatnonzero(last).astype(np.int64) + 1
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    return Episodes(ended, last & ~ended, starts, ends)


def is_shift(observations: ArrayTree, next_observations: ArrayTree, ends: Array) -> bool:
    """Returns whether next_observations[i] is observations[i + 1] wherever an episode goes on."""
    n_rows = int(ends[-1])
    at_end = np.zeros(n_rows, np.bool_)
    at_end[ends - 1] = True
    before, after = slice(0, n_rows - 1), slice(1, n_rows)
    return same_rows(rows(next_observations, before), rows(observations, after), but=at_end[:-1])


def next_rows(observations: ArrayTree, final_observations: ArrayTree, ends: Array, index: Array) -> ArrayTree:
    """Returns the observations after the rows `index`: the row below, or the episode's final one."""
    episode = np.searchsorted(ends, index, side="right")
    at_end = index == ends[episode] - 1
    below = np.where(at_end, index, index + 1)

    def gather(leaf: Array, final: Array) -> Array:
        out: Array = leaf[below]
        out[at_end] = final[episode[at_end]]
        return out

    return map_tree(gather, observations, final_observations)


def recorded_next(dataset: MDPDataset) -> Array:
    """Returns whether the observation after each row was recorded, bool [N], in whatever order the rows stand."""
    known = np.ones(len(dataset), np.bool_)
    known[dataset.episode_ends - 1] = dataset.final_known
    return known


def row_numbers(index: ArrayLike, n_rows: int) -> Array:
    """Returns the numbers from 0 of rows, int64, of numbers that may count from the end, or of a mask.

    Raises:
        IndexError: For a number outside [-N, N), or a mask of another length.
    """
    given = np.asarray(index)
    if given.dtype == np.bool_:
        if given.shape != (n_rows,):
            raise IndexError(f"a mask needs one entry for each of the {n_rows} rows, got {list(given.shape)}")
        return np.flatnonzero(given)
    if given.size and given.dtype.kind not in "iu":
        raise IndexError(f"rows are chosen by whole numbers, got {given.dtype}")
    numbers = given.astype(np.int64)
    outside = (numbers < -n_rows) | (numbers >= n_rows)
    if outside.any():
        raise IndexError(f"row {numbers[outside].flat[0]} is not there: the dataset has {n_rows} rows")
    return np.where(numbers < 0, numbers + n_rows, numbers)


def episode_rows(starts: Array, ends: Array, chosen: Array) -> tuple[slice | Array, Array]:
    """Returns the rows of chosen episodes, as a slice if they are contiguous, and the new ends."""
    lengths = (ends - starts)[chosen]
    new_ends = np.cumsum(lengths)
    if (np.diff(chosen) == 1).all():
        return slice(int(starts[chosen[0]]), int(ends[chosen[-1]])), new_ends
    shift = np.repeat(starts[chosen] - (new_ends - lengths), lengths)
    return np.arange(int(new_ends[-1]), dtype=np.int64) + shift, new_ends


def chosen_episodes(key: slice | ArrayLike, n_episodes: int, n_rows: int) -> Array:
    """Returns int64 episode numbers from an int, a slice, or an array of ints or booleans.

    Raises:
        IndexError: For a number outside [-E, E), or a boolean array of another length.
        TypeError: For any other key.
        DatasetError: If nothing is chosen, or for a number that is that of a row.
    """
    if isinstance(key, slice):
        chosen = np.arange(n_episodes, dtype=np.int64)[key]
    else:
        given = np.asarray(key)
        given = (
            given.astype(np.int64) if given.size == 0 and given.dtype != np.bool_ else np.atleast_1d(given)
        )
        if given.dtype.kind not in "iub" or given.ndim != 1:
            raise TypeError(
                f"episodes are chosen by an int, a slice, or an array of ints or booleans, got {key!r}"
            )
        chosen = _numbers(given, n_episodes, n_rows)
    if len(chosen) == 0:
        raise DatasetError(
            f"no episode is chosen, expected at least one of the {n_episodes}; check the condition"
        )
    return chosen


def _numbers(given: Array, n_episodes: int, n_rows: int) -> Array:
    if given.dtype == np.bool_:
        if len(given) != n_episodes:
            raise IndexError(
                f"a mask needs one entry for each of the {n_episodes} episodes, got {len(given)}"
            )
        return np.flatnonzero(given).astype(np.int64)
    chosen = given.astype(np.int64)
    outside = (chosen < -n_episodes) | (chosen >= n_episodes)
    if outside.any():
        message = f"episode {chosen[outside][0]} is not there: the dataset has {n_episodes} episodes"
        if (
            n_episodes < n_rows and (np.abs(chosen) < n_rows).all()
        ):  # As of random.choice and train_test_split.
            raise DatasetError(
                f"{message}; len(dataset) counts its {n_rows} rows, but indices choose episodes: draw numbers below "
                "dataset.n_episodes, or use dataset.split and dataset.sample"
            )
        raise IndexError(message)
    return np.where(chosen < 0, chosen + n_episodes, chosen)


def order_by(dataset: MDPDataset, name: str) -> Array:
    """Returns the numbers of the episodes, int64 [E], by a column's value in their first rows; equal ones as recorded.

    Raises:
        ValueError: For a column that there is not, or of more than one number a row.
    """
    order: Array = np.argsort(row_values(dataset, name)[dataset.episode_starts], kind="stable")
    return order


def row_values(dataset: MDPDataset, name: str) -> Array:
    """Returns the numbers [N] of a column of rows, or of episodes for each of their rows.

    Raises:
        ValueError: For a column that there is not, or of more than one number a row.
    """
    known = [*dataset.extras, *dataset.episode_extras]
    if name == "time" and name not in known and dataset.schema is not None and dataset.schema.time:
        name = dataset.schema.time  # The column of the table that its schema calls so.
    if name not in known:
        raise ValueError(f"by must be one of {sorted(known)}, got {name!r}{did_you_mean(name, known)}")
    values = dataset.extras[name] if name in dataset.extras else dataset.episode_extras[name]
    if values.ndim != 1 or values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise ValueError(
            f"by={name!r} must be one finite number a row, got {values.dtype}{list(values.shape)}"
        )
    return values if name in dataset.extras else np.repeat(values, dataset.episode_lengths())

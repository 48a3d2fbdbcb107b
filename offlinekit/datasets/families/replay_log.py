"""The checkpoints of a circular replay buffer that DQN logged: which of their rows are steps of which episode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from offlinekit.datasets.formats.array_files import read_header
from offlinekit.datasets.formats.gzipped import UNPACKING, open_packed
from offlinekit.datasets.validation import as_flags
from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

MOST_ROWS = 1 << 24
PADDING = 3
"""Rows of zeros that the buffer stores before an episode, for stacks of four frames."""
BLOCK = 4096
"""Frames read together."""


@dataclass(frozen=True)
class Log:
    """One checkpoint of C slots, without its frames.

    Attributes:
        actions, rewards: [C].
        terminals: bool [C].
        starts, ends: Slots [E] where episodes begin, their padding included, and end, exclusive. An episode
            reaches neither across the cursor, where what the buffer holds is stale, nor round its end.
    """

    actions: Array
    rewards: Array
    terminals: Array
    starts: Array
    ends: Array


class Padding:
    """Finds the slots of zeros that open an episode, at most three, as frames come block by block."""

    def __init__(self, log: Log) -> None:
        self.may, self.begins, self.found = (np.zeros(len(log.actions), np.bool_) for _ in range(3))
        self.begins[log.starts] = True
        for place in range(PADDING):
            at = log.starts[log.starts + place < log.ends] + place
            self.may[at] = (log.actions[at] == 0) & (log.rewards[at] == 0) & ~log.terminals[at]

    def among(self, frames: Array, start: int) -> Array:
        """Returns which of the frames [b, H, W] from slot `start` on are padding, bool [b]."""
        slots = slice(start, start + len(frames))
        blank = self.may[slots] & ~frames.reshape(len(frames), -1).any(axis=1)
        for slot in np.flatnonzero(blank) + start:
            self.found[slot] = self.begins[slot] or self.found[slot - 1]
        return self.found[slots]


def file_name(store: str, epoch: int) -> str:
    """Returns the name of one file of a checkpoint, such as "$store$_action_ckpt.1.gz" for "action"."""
    return f"{store if store == 'add_count' else f'$store$_{store}'}_ckpt.{epoch}.gz"


def epochs_in(folder: Path) -> list[int]:
    """Returns the checkpoints whose observations lie in a folder."""
    epochs = [path.name.split(".")[-2] for path in folder.glob("$store$_observation_ckpt.*.gz")]
    return sorted(int(number) for number in epochs if number.isdigit())


def read_log(folder: Path, epoch: int) -> Log:
    """Reads a checkpoint but for its frames.

    Without a file `add_count` the cursor is taken to be at the last slot, where it stands when a buffer logs
    itself before it is overwritten.

    Raises:
        FileFormatError: For files that are missing, damaged or of differing lengths.
    """
    columns = [read_array(folder / file_name(store, epoch)) for store in ("action", "reward", "terminal")]
    lengths = [len(column) if column.ndim == 1 else -1 for column in columns]
    if len(set(lengths)) != 1 or lengths[0] < 1:
        raise FileFormatError(f"{folder}: epoch {epoch} has columns of {lengths} rows, expected one length")
    counted = folder / file_name("add_count", epoch)
    n_added = _count(counted) if counted.is_file() else lengths[0] - 1
    if n_added < 0:
        raise FileFormatError(f"{counted} counts {n_added} rows, expected none or more")
    actions, rewards, terminals = columns
    if actions.dtype.kind not in "iu":
        raise FileFormatError(
            f"{folder}: actions of epoch {epoch} are {actions.dtype}, expected whole numbers"
        )
    ended = as_flags(terminals, file_name("terminal", epoch))
    starts, ends = _episodes(ended, n_added % lengths[0], min(n_added, lengths[0]))
    if not len(starts):
        raise FileFormatError(f"{folder}: epoch {epoch} holds no row; was anything recorded?")
    return Log(actions, rewards, ended, starts, ends)


def _count(path: Path) -> int:
    count = read_array(path)
    if count.size != 1 or count.dtype.kind not in "iu":
        raise FileFormatError(f"{path} holds {count.dtype}{list(count.shape)}, expected one whole number")
    return int(count.reshape(()))


def _episodes(terminals: Array, cursor: int, n_written: int) -> tuple[Array, Array]:
    """Returns where episodes begin and end among the slots before the cursor, and then among those after it."""
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for first, last in ((0, cursor), (cursor + 1, n_written)):
        if first < last:
            stops = np.union1d(np.flatnonzero(terminals[first:last]) + first + 1, [last])
            starts.append(np.append(first, stops[:-1]))
            ends.append(stops)
    return np.concatenate(starts), np.concatenate(ends)


def read_array(path: Path) -> Array:
    """Reads a small array that `np.save` wrote into a gzip file.

    Raises:
        FileFormatError: For a file that is missing, damaged, or holds objects.
    """
    with _opened(path) as file:
        shape, dtype = _header(file, path)
        size = math.prod(shape) * dtype.itemsize
        budget_of(path).take(size, f"the array in {path}")
        values = np.frombuffer(_read(file, size, path), dtype)
    return values.reshape(shape)


def read_frames(path: Path, n_rows: int) -> Iterator[tuple[int, Array]]:
    """Yields the frames of a checkpoint in blocks, uint8 [b, 84, 84], each with its first slot.

    Raises:
        FileFormatError: For another shape or dtype, or a damaged file.
    """
    with _opened(path) as file:
        shape, dtype = _header(file, path)
        if dtype != np.uint8 or len(shape) != 3 or shape[0] != n_rows or 0 in shape:
            raise FileFormatError(f"{path} holds {dtype}{list(shape)}, expected uint8[{n_rows}, 84, 84]")
        for start in range(0, n_rows, BLOCK):
            size = min(BLOCK, n_rows - start)
            budget_of(path).check(size * shape[1] * shape[2], f"{size:,} frames of {path}")
            raw = _read(file, size * shape[1] * shape[2], path)
            yield start, np.frombuffer(raw, np.uint8).reshape(size, *shape[1:])


def check_packed_array(path: Path) -> None:
    """Raises FileFormatError for a file that does not begin as an array in gzip."""
    with _opened(path) as file:
        _header(file, path)


def _opened(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise FileFormatError(f"{path} is missing; an epoch needs observation, action, reward and terminal")
    return open_packed(path)


def _header(file: IO[bytes], path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    try:
        shape, by_columns, dtype = read_header(file, path.stat().st_size)
    except (*UNPACKING, ValueError) as error:
        raise FileFormatError(f"{path} is no gzip of an array that np.save wrote ({error})") from error
    if dtype.kind not in "fiub" or (by_columns and len(shape) > 1) or any(size > MOST_ROWS for size in shape):
        raise FileFormatError(f"{path} holds {dtype}{list(shape)}, expected numbers, row by row")
    return shape, dtype


def _read(file: IO[bytes], size: int, path: Path) -> bytes:
    try:
        raw = file.read(size)
    except UNPACKING as error:
        raise FileFormatError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    if len(raw) < size:
        raise FileFormatError(f"{path} ends {size - len(raw):,} bytes too early; fetch it again")
    return raw

"""Tianshou: HDF5 files of its replay buffers, of which the arrays are read and the pickled objects are not.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). A buffer is a
ring: rows are read from the oldest on; a VectorReplayBuffer is one ring for each environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import FileFormatError
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array, first_leaf, rows

if TYPE_CHECKING:
    import h5py

    from offlinekit.types import ArrayTree

REQUIRED = ("obs", "act", "rew")
ARRAYS = ("ndarray", "Tensor")


def read(path: Path, *, action_space: Space | None = None, clip_actions: bool = False) -> Columns:
    """Reads a file that `ReplayBuffer.save_hdf5` wrote, or one of flat columns of the same names.

    Objects that Tianshou pickled into the file are left out with a warning. If `obs_next` was not saved,
    the observation after an episode's last row is unknown.

    Args:
        path: The HDF5 file.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file, one without the columns, or an empty buffer.
        DatasetError: For data that cannot be a dataset.
    """
    skipped: list[str] = []
    with hdf5.open_hdf5(path) as file:
        table = hdf5.member(file, "_meta") if "_meta" in file else file
        _note_pickles(file, skipped)
        columns = {key: _tree(table, key) for key in REQUIRED}
        extra = [key for key in ("obs_next", "terminated", "truncated", "done") if key in table]
        columns |= {key: _tree(table, key) for key in extra if not _is_pickled(hdf5.member(table, key))}
        check_columns(columns, "rew")
        order, last = _rings(file, len(first_leaf(columns["rew"])), path)
    if skipped:
        warn_caller(f"{path} holds pickled objects, which are not read: {', '.join(skipped)}")
    columns = {key: rows(column, order) for key, column in columns.items()}
    nothing = np.zeros(len(order), np.bool_)
    stated = "terminated" if "terminated" in columns else "done"
    terminals = as_flags(columns.get(stated, nothing), stated)
    cut = as_flags(columns.get("truncated", nothing), "truncated")
    if stated == "done":  # Which is set at every end.
        terminals &= ~cut
    cut &= ~terminals
    actions = columns["act"]
    return {
        "observations": columns["obs"],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": columns["rew"],
        "terminals": terminals,
        "episode_terminals": last | terminals | cut,
        "next_observations": columns.get("obs_next"),
        "action_space": action_space,
    }


def _is_pickled(item: h5py.Group | h5py.Dataset) -> bool:
    return not hdf5.is_group(item) and item.attrs.get("__data_type__", "ndarray") not in ARRAYS


def _note_pickles(file: h5py.File, skipped: list[str]) -> None:
    file.visititems(lambda name, item: skipped.append(name) if _is_pickled(item) else None)


def _tree(group: h5py.Group, key: str) -> ArrayTree:
    """Returns an array, or a dict of those in a group."""
    item = hdf5.member(group, key)
    if hdf5.is_group(item):
        return {name: _tree(item, name) for name in hdf5.keys_of(item)}
    if _is_pickled(item):
        raise FileFormatError(f"{key!r} in {hdf5.where(group)} is a pickled object, which is never read")
    return hdf5.read_array(group, key)


def _rings(file: h5py.File, n_slots: int, path: Path) -> tuple[Array, Array]:
    """Returns the filled rows, each ring from its oldest on, and the last row of each ring."""
    if "_offset" in file:
        starts = hdf5.read_array(file, "_offset").astype(np.int64)
        lengths = hdf5.read_array(file, "_lengths").astype(np.int64)
        newest = hdf5.read_array(file, "last_index").astype(np.int64)
    else:
        size = _count(file, "_size", n_slots)
        starts, lengths = np.zeros(1, np.int64), np.array([size])
        newest = np.array([_count(file, "_index", size) - 1]) % max(n_slots, 1)
    sizes = np.diff(np.append(starts, n_slots))
    if not len(starts) == len(lengths) == len(newest) or starts[0] != 0:
        raise FileFormatError(
            f"{path} has {len(lengths)} rings that begin at {starts[:8].tolist()}; write it again"
        )
    if (sizes < lengths).any() or (lengths < 0).any() or lengths.sum() == 0:
        raise FileFormatError(f"{path} is an empty buffer, or one whose sizes do not fit: {lengths.tolist()}")
    parts = []
    for start, size, length, latest in zip(starts, sizes, lengths, newest, strict=True):
        oldest = int(latest) + 1 - int(start) if length == size else 0
        parts.append(int(start) + (oldest + np.arange(length)) % size)
    last = np.zeros(int(lengths.sum()), np.bool_)
    last[np.cumsum(lengths)[lengths > 0] - 1] = True
    return np.concatenate(parts), last


def _count(file: h5py.File, name: str, default: int) -> int:
    value = file.attrs.get(name, default)
    if not isinstance(value, int | np.integer):
        raise FileFormatError(f"{hdf5.where(file)} has {name} {value!r:.100}, expected a whole number")
    return int(value)


def recognises(path: Path) -> bool:
    """Returns whether an HDF5 file has the columns of a buffer of Tianshou."""
    with hdf5.open_hdf5(path) as file:
        table = hdf5.member(file, "_meta") if hdf5.is_group(file.get("_meta")) else file
        return all(key in table for key in REQUIRED)


SOURCE = Source(
    summary="A replay buffer of Tianshou.",
    suffixes=(".h5", ".hdf5"),
    recognises=recognises,
    keys=(*REQUIRED, "obs_next", "terminated", "truncated", "done"),
    read=read,
)

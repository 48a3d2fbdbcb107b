"""Datasets as HDF5 files of d3rlpy's ReplayBuffer, v2.1."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.formats.hdf5_writing import write_checked, write_fact, written_hdf5
from offlinekit.datasets.inspection.format_losses import warn_of_losses
from offlinekit.datasets.spaces import column_of_actions
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.io import atomic_write
from offlinekit.types import Array

if TYPE_CHECKING:
    import h5py

    from offlinekit.datasets.mdp_dataset import MDPDataset

VERSION = "2.1"
HELD = ("observations", "actions", "rewards", "terminals", "timeouts")


def export_d3rlpy(dataset: MDPDataset, path: Path | str) -> Path:
    """Writes a dataset for `d3rlpy.dataset.ReplayBuffer.load`, atomically, and returns its path.

    The format has no observation after an episode's last row: d3rlpy uses a row that ends by a timeout only as
    the observation after the one before it. A warning names what else is not in it: spaces, metadata, masks, extras.

    Args:
        dataset: An MDPDataset of arrays or flat tuples of arrays.
        path: Of the HDF5 file.

    Raises:
        UnsupportedError: For observations that are dicts, or nested.
        DatasetError: For transitions without episodes.
        WriteError: If it cannot be written; a file that was there stays as it was.
    """
    if dataset.next_observations is not None:
        raise DatasetError(
            "d3rlpy holds whole episodes, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); write .h5 or .npz"
        )
    observations = dataset.observations
    branches = observations if isinstance(observations, tuple) else (observations,)
    if any(isinstance(branch, dict | tuple) for branch in branches):
        raise UnsupportedError(
            "d3rlpy takes observations that are one array or a tuple of arrays, got a dict or a nested tree; "
            "join its entries to one array first"
        )
    warn_of_losses(dataset, "d3rlpy", HELD)
    actions = column_of_actions(dataset.actions, dataset.action_space)
    actions = actions[:, None] if actions.ndim == 1 else actions
    with atomic_write(Path(path)) as beside, written_hdf5(beside) as file:
        write_fact(file, "columns", np.array(["observations", "actions", "rewards", "terminated"], "S"))
        write_fact(file, "num_episodes", dataset.n_episodes)
        write_fact(file, "version", np.bytes_(VERSION))
        for i, (start, end) in enumerate(zip(dataset.episode_starts, dataset.episode_ends, strict=True)):
            part = slice(int(start), int(end))
            _write(file, f"observations_{i}", observations, part)
            write_checked(file, f"actions_{i}", actions[part])
            write_checked(file, f"rewards_{i}", dataset.rewards[part, None])
            write_fact(file, f"terminated_{i}", bool(dataset.terminals[int(end) - 1]))
    return Path(path)


def _write(file: h5py.File, name: str, seen: Array | tuple[Array, ...], part: slice) -> None:
    if not isinstance(seen, tuple):
        write_checked(file, name, seen[part])
        return
    for j, branch in enumerate(seen):
        write_checked(file, f"{name}_{j}", branch[part])

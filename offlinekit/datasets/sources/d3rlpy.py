"""d3rlpy: HDF5 files of MDPDataset v1 and of ReplayBuffer v2.1.

Row t holds the observation, the action taken on it and the reward that the action earned. The observation
after the last row of an episode is in neither format.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.families.d3rlpy_export import export_d3rlpy
from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip, discrete_of
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import FileFormatError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.types import Array

if TYPE_CHECKING:
    import h5py

COLUMNS = ("observations", "actions", "rewards")


def read(path: Path, *, action_space: Space | None = None, clip_actions: bool = False) -> Columns:
    """Reads a file of d3rlpy.

    In v1 `episode_terminals` says where episodes end. A row with `terminals` set where the episode goes on
    (its own cartpole file has 1,448) is no end; an end without it is a timeout.

    Args:
        path: The HDF5 file.
        action_space: gymnasium Box or Discrete, else taken from the file.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file or another version.
        DatasetError: For data that cannot be a dataset.
    """
    with hdf5.open_hdf5(path) as file:
        if not _is_d3rlpy(file):
            raise FileFormatError(
                f"{path} is not of d3rlpy: it has neither 'discrete_action' nor 'num_episodes'"
            )
        columns = _read_v2(file) if "num_episodes" in file else _read_v1(file)
    stated = columns.pop("action_space", None)
    declared = stated if action_space is None else action_space
    if clip_actions:
        columns["actions"] = clip(columns["actions"], declared)
    joint = None if declared is None else JointDiscrete.of(declared)
    if joint is not None and columns["actions"].shape[1:] == (1,) != (len(joint.sizes),):
        columns["actions"] = columns["actions"][
            :, 0
        ]  # Joint numbers: to d3rlpy they are one discrete action.
    return {**columns, "action_space": declared}


def _read_v1(file: h5py.File) -> dict[str, Any]:
    columns: dict[str, Any] = {
        key: hdf5.read_array(file, key) for key in ("observations", "actions", "rewards", "terminals")
    }
    if "episode_terminals" in file:
        columns["episode_terminals"] = hdf5.read_array(file, "episode_terminals")
    check_columns(columns, "rewards")
    if "discrete_action" in file and hdf5.read_number(file, "discrete_action"):
        columns["action_space"] = discrete_of(np.nan_to_num(columns["actions"], nan=0, posinf=0, neginf=0))
    if "episode_terminals" in columns:
        columns["episode_terminals"] = as_flags(columns["episode_terminals"], "episode_terminals")
        columns["terminals"] = as_flags(columns["terminals"], "terminals") & columns["episode_terminals"]
    return columns


def _read_v2(file: h5py.File) -> dict[str, Any]:
    version = hdf5.read_string(file, "version")
    if version != "2.1":
        raise FileFormatError(
            f"{file.filename} has version {version} of d3rlpy, expected 2.1; write it again"
        )
    n_episodes = int(hdf5.read_number(file, "num_episodes"))
    if n_episodes < 1:
        raise FileFormatError(f"{file.filename} has no episodes")
    episodes = [{key: _read_leaf(file, f"{key}_{i}") for key in COLUMNS} for i in range(n_episodes)]
    for i, episode in enumerate(episodes):
        check_columns({f"{key}_{i}": episode[key] for key in COLUMNS}, f"rewards_{i}")
    lengths = [len(episode["rewards"]) for episode in episodes]
    last = np.zeros(sum(lengths), np.bool_)
    last[np.cumsum(lengths) - 1] = True
    terminals = np.zeros_like(last)
    stated = [hdf5.read_number(file, f"terminated_{i}") for i in range(n_episodes)]
    terminals[last] = as_flags(stated, "terminated_0, terminated_1, ...")
    columns = {key: join([episode[key] for episode in episodes], key) for key in COLUMNS}
    return {**columns, "terminals": terminals, "episode_terminals": last}


def _read_leaf(file: h5py.File, key: str) -> Array | tuple[Array, ...]:
    """Returns an array, or a tuple of those that end in _0, _1, ..."""
    if key in file or f"{key}_0" not in file:
        return hdf5.read_array(file, key)
    branches: list[Array] = []
    while f"{key}_{len(branches)}" in file:
        branches.append(hdf5.read_array(file, f"{key}_{len(branches)}"))
    return tuple(branches)


def recognises(path: Path) -> bool:
    """Returns whether an HDF5 file is one of d3rlpy."""
    with hdf5.open_hdf5(path) as file:
        return _is_d3rlpy(file)


def _is_d3rlpy(file: h5py.File) -> bool:
    return any(key in file for key in ("discrete_action", "episode_terminals", "num_episodes"))


SOURCE = Source(
    summary="A dataset or replay buffer of d3rlpy, v1 or v2.1.",
    suffixes=(".h5", ".hdf5"),
    recognises=recognises,
    keys=(*COLUMNS, "terminals", "episode_terminals", "discrete_action"),
    read=read,
    write=export_d3rlpy,
)

"""DSRL: HDF5 files of safe offline RL, D4RL's columns and the cost of each step.

Row t holds the observation, the action taken on it, and the reward and the cost that the action earned (SAR).
`costs` stays with its rows as the extra of this name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.sources import d4rl
from offlinekit.datasets.spaces import Space
from offlinekit.datasets.validation import as_float32, as_vector, check_length

COST = "costs"


def read(
    path: Path,
    *,
    action_space: Space | None = None,
    step_limit: int | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of DSRL.

    Args:
        path: The HDF5 file.
        action_space: gymnasium Box, else unbounded.
        step_limit: Cuts episodes after this many rows, in place of the file's timeouts.
        clip_actions: Whether to clip actions into action_space.

    Raises:
        FileFormatError: For a damaged file or one without the columns.
        DatasetError: For data that cannot be a dataset.
    """
    with hdf5.open_hdf5(path) as file:
        columns = d4rl.read_columns(file, step_limit, is_plain=True)
        costs = as_float32(as_vector(hdf5.read_array(file, COST), COST))
    check_length(costs, COST, len(np.atleast_1d(columns["rewards"])))
    columns["extras"] = {COST: costs}
    built = d4rl.build(
        columns, None, step_limit=step_limit, clip_actions=clip_actions, action_space=action_space
    )
    return {**built, "name": path.stem}


def recognises(path: Path) -> bool:
    """Returns whether an HDF5 file has the columns of D4RL's files, and costs."""
    with hdf5.open_hdf5(path) as file:
        return all(key in file for key in (*d4rl.REQUIRED, COST))


SOURCE = Source(
    summary="A file of DSRL.",
    suffixes=(".hdf5", ".h5"),
    recognises=recognises,
    keys=(*d4rl.REQUIRED, *d4rl.OPTIONAL, COST),
    read=read,
)

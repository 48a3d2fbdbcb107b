"""NeoRL: its NPZ files of `obs, next_obs, action, reward, done, index`.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). `index` says where
trajectories end (of the file's own convention both are read: starts, the first of which is 0, or ends).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offlinekit.datasets.families.done_flags import without_limit
from offlinekit.datasets.formats.array_files import names_in, read_arrays
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

COLUMNS = ("obs", "next_obs", "action", "reward", "done", "index")


def read(
    path: Path,
    *,
    step_limit: int | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of NeoRL.

    Args:
        path: The NPZ file.
        step_limit: Rows of the longest trajectory: `done` at that row is then a timeout.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file, one without the columns, or an index that does not fit.
        DatasetError: For data that cannot be a dataset.
    """
    columns = read_arrays(path, COLUMNS)
    check_columns({name: columns[name] for name in COLUMNS[:5]}, "reward")
    last = _last_rows(columns["index"], len(columns["reward"]), path)
    terminals = as_flags(columns["done"], "done")
    last |= terminals
    terminals = without_limit(terminals, last, step_limit, "done")
    actions = columns["action"]
    return {
        "observations": columns["obs"],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": columns["reward"],
        "terminals": terminals,
        "episode_terminals": last,
        "next_observations": columns["next_obs"],
        "action_space": action_space,
        "name": path.stem,
    }


def _last_rows(index: Array, n_rows: int, path: Path) -> Array:
    bounds = index.reshape(-1).astype(np.int64)
    if len(bounds) == 0 or (np.diff(bounds) <= 0).any() or bounds[0] < 0 or bounds[-1] > n_rows:
        raise FileFormatError(
            f"'index' in {path} must rise from 0 to at most {n_rows}, got {bounds[:8].tolist()}"
        )
    last = np.zeros(n_rows, np.bool_)
    last[bounds[bounds > 0] - 1] = True
    last[-1] = True
    return last


def recognises(path: Path) -> bool:
    """Returns whether an NPZ file has NeoRL's columns, and an index of trajectories, not one of rows."""
    if not set(names_in(path)).issuperset(COLUMNS):
        return False
    arrays = read_arrays(path, ("index", "reward"))
    return arrays["index"].size < max(len(arrays["reward"]), 2)


SOURCE = Source(
    summary="A file of NeoRL.", suffixes=(".npz",), recognises=recognises, keys=COLUMNS, read=read
)

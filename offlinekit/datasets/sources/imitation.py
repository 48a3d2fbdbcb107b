"""imitation: NPZ files of trajectories as its versions before 1.0 wrote them.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). A trajectory of T
actions has T + 1 observations, so that every final observation is known; `indices` are where the later ones begin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offlinekit.datasets.families.done_flags import warn_of_no_rewards
from offlinekit.datasets.formats.array_files import names_in, read_arrays
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

REQUIRED = ("obs", "acts", "indices", "terminal")


def read(path: Path, *, action_space: Space | None = None, clip_actions: bool = False) -> Columns:
    """Reads a file of trajectories; their `infos`, which are pickled objects, are not read.

    Args:
        path: The NPZ file.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file, or one whose columns do not fit together.
        DatasetError: For data that cannot be a dataset.
    """
    has_rewards = "rews" in names_in(path)
    arrays = read_arrays(path, [*REQUIRED, *(["rews"] if has_rewards else [])])
    observations, actions, terminal = arrays["obs"], arrays["acts"], as_flags(arrays["terminal"], "terminal")
    ends = _ends(arrays["indices"], len(actions), len(observations), len(terminal), path)
    finals = ends + np.arange(len(ends))  # Each earlier trajectory has one observation more than actions.
    last = np.zeros(len(actions), np.bool_)
    last[ends - 1] = True
    terminals = np.zeros(len(actions), np.bool_)
    terminals[ends - 1] = terminal
    if not has_rewards:
        warn_of_no_rewards("'rews'")
    return {
        "observations": np.delete(observations, finals, axis=0),
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": arrays["rews"] if has_rewards else np.zeros(len(actions), np.float32),
        "terminals": terminals,
        "episode_terminals": last,
        "final_observations": observations[finals],
        "action_space": action_space,
        "name": path.stem,
    }


def _ends(indices: Array, n_rows: int, n_observations: int, n_trajectories: int, path: Path) -> Array:
    """Returns where trajectories end, int64 [E], exclusive."""
    ends = np.append(indices.reshape(-1).astype(np.int64), n_rows)
    if (np.diff(ends, prepend=0) <= 0).any() or len(ends) != n_trajectories:
        raise FileFormatError(
            f"'indices' in {path} must rise to less than {n_rows} and be one fewer than its {n_trajectories} "
            f"trajectories, got {indices.reshape(-1)[:8].tolist()}"
        )
    if n_observations != n_rows + len(ends):
        raise FileFormatError(
            f"{path} has {n_observations} observations for {n_rows} actions, expected one more for each of its "
            f"{len(ends)} trajectories; was it written completely?"
        )
    return ends


def recognises(path: Path) -> bool:
    """Returns whether an NPZ file has the columns of imitation's trajectories."""
    return set(names_in(path)).issuperset(REQUIRED)


SOURCE = Source(
    summary="Trajectories of imitation.",
    suffixes=(".npz",),
    recognises=recognises,
    keys=(*REQUIRED, "rews"),
    read=read,
)

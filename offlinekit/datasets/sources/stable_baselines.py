"""Stable Baselines 2: NPZ files of `generate_expert_traj`, with `episode_starts`.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR). The file does not say
why an episode ended: its last rows are terminals, as its `done` was, but for those at a step limit. The observation
after them was not recorded.
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
from offlinekit.errors import DatasetError

REQUIRED = ("obs", "actions", "rewards", "episode_starts")


def read(
    path: Path,
    *,
    step_limit: int | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of recorded episodes.

    Args:
        path: The NPZ file.
        step_limit: Rows of the longest episode: an end at that row is a timeout.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file, or one whose observations are the names of images.
        DatasetError: For data that cannot be a dataset.
    """
    arrays = read_arrays(path, REQUIRED)
    check_columns(arrays, "rewards")
    starts = as_flags(arrays["episode_starts"], "episode_starts")
    if not starts[0]:
        raise DatasetError("episode_starts is not set at row 0; the first episode lacks its beginning")
    last = np.append(starts[1:], True)
    actions = arrays["actions"]
    return {
        "observations": arrays["obs"],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": arrays["rewards"],
        "terminals": without_limit(last, last, step_limit, "episode_starts"),
        "episode_terminals": last,
        "action_space": action_space,
        "name": path.stem,
    }


def recognises(path: Path) -> bool:
    """Returns whether an NPZ file has the columns of expert trajectories."""
    return set(names_in(path)).issuperset(REQUIRED)


SOURCE = Source(
    summary="Expert trajectories of Stable Baselines 2.",
    suffixes=(".npz",),
    recognises=recognises,
    keys=REQUIRED,
    read=read,
)

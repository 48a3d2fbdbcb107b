"""V-D4RL: images of the control suite, NPZ files of one episode each, or HDF5 shards of several.

Row t of a file holds an observation, and the action, reward and discount that led to it (ASR); the first of an episode
led from nowhere. Here they are moved up by one row, and an episode's last observation is its final one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.families.done_flags import ends_of
from offlinekit.datasets.formats.array_files import SUFFIXES, names_in, read_arrays
from offlinekit.datasets.formats.images import channels_first
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import DatasetError, FileFormatError
from offlinekit.types import Array

STEPS = ("action", "reward", "discount")
EPISODE, SHARD = "image", "observation"
FIRST = 0
"""Of `step_type`, as dm_env numbers it: 0 first, 1 in between, 2 last."""


def read(path: Path, *, action_space: Space | None = None, clip_actions: bool = False) -> Columns:
    """Reads an episode, a shard, or a folder of either; images become [N, C, H, W].

    Args:
        path: The NPZ or HDF5 file, or the folder.
        action_space: In place of [-1, 1].
        clip_actions: Whether to clip actions into their range.

    Raises:
        FileFormatError: For a damaged file or one of another layout.
        DatasetError: For data that cannot be a dataset.
    """
    parts = [_moved_up(_steps(file), file) for file in _files(path)]
    columns: dict[str, Any] = {name: join([part[name] for part in parts], name) for name in parts[0]}
    space = action_space or spaces.Box(-1.0, 1.0, columns["actions"].shape[1:], np.float32)
    if clip_actions:
        columns["actions"] = clip(columns["actions"], space)
    return {**columns, "action_space": space, "name": path.stem}


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES))


def _steps(path: Path) -> dict[str, Array]:
    """Returns the columns of a file, and where its episodes begin."""
    names = names_in(path)
    column = EPISODE if EPISODE in names else SHARD
    marks = [name for name in ("step_type", "is_terminal") if name in names]
    if column == SHARD and "step_type" not in names:
        raise FileFormatError(
            f"{path} has no 'step_type', which says where episodes begin; it has {', '.join(names)}"
        )
    columns = read_arrays(path, [column, *STEPS, *marks])
    check_columns(columns, "reward")
    first = (
        columns["step_type"] == FIRST if "step_type" in columns else np.arange(len(columns["reward"])) == 0
    )
    stated = as_flags(columns["is_terminal"], "is_terminal") if "is_terminal" in columns else None
    ended = ends_of(columns["discount"], "discount") if stated is None else stated
    return {**columns, "observation": channels_first(columns[column]), "first": first, "ended": ended}


def _moved_up(steps: dict[str, Array], path: Path) -> Columns:
    """Returns rows whose action and reward follow their observation."""
    first = steps["first"].reshape(-1)
    if not first[0]:
        raise DatasetError(f"{path} does not begin with the first step of an episode")
    final = np.append(first[1:], True)
    kept = np.flatnonzero(~final)
    if len(kept) < 1 or (first & final).any():
        raise DatasetError(
            f"{path} has an episode of one step, expected an observation before and after an action"
        )
    last = final[kept + 1]
    return {
        "observations": steps["observation"][kept],
        "actions": steps["action"][kept + 1],
        "rewards": steps["reward"][kept + 1],
        "terminals": steps["ended"].reshape(-1)[kept + 1] & last,
        "episode_terminals": last,
        "final_observations": steps["observation"][kept[last] + 1],
    }


def recognises(path: Path) -> bool:
    """Returns whether a file, or the first of a folder, holds images with the actions that led to them."""
    if path.is_dir():
        files = _files(path)
        return bool(files) and recognises(files[0])
    names = set(names_in(path))
    return names.issuperset(STEPS) and (EPISODE in names or {SHARD, "step_type"} <= names)


SOURCE = Source(
    summary="Images of V-D4RL.",
    suffixes=SUFFIXES,
    folders="episodes or shards of V-D4RL: *.npz or *.hdf5",
    recognises=recognises,
    keys=(EPISODE, SHARD, *STEPS, "step_type", "is_terminal"),
    read=read,
)

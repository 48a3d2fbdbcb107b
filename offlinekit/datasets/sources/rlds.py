"""RLDS: steps with `is_first, is_last, is_terminal`, as arrays in an NPZ or HDF5 file.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR), or, with
alignment="RSA", the reward that led to the observation, as dm_env gives it. An episode's last step holds only
its final observation: its action, and under SAR its reward, mean nothing.
"""

from __future__ import annotations

from pathlib import Path

from offlinekit.datasets.families.rlds_steps import MARKS, columns_of_steps
from offlinekit.datasets.formats.array_files import SUFFIXES, names_in, names_under, read_arrays, tree_at
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import check_columns


def read(
    path: Path,
    *,
    alignment: str = "SAR",
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of RLDS steps.

    Args:
        path: The NPZ or HDF5 file, with `observation` (an array, or a folder of them), `action`, `reward` and the
            three marks, [N] each; also in a folder `steps`.
        alignment: "SAR" or "RSA": whether a row holds the reward after its action, or before its observation.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file or one without the columns.
        DatasetError: For marks that do not fit together, or data that cannot be a dataset.
    """
    names = names_in(path)
    top = "steps/" if "steps/is_first" in names else ""
    observation_names = names_under(names, f"{top}observation") or [f"{top}observation"]
    arrays = read_arrays(
        path, [*observation_names, *(f"{top}{name}" for name in ("action", "reward", *MARKS))]
    )
    check_columns(arrays, f"{top}is_first")
    marks = {mark: arrays[f"{top}{mark}"] for mark in MARKS}
    observations = tree_at(arrays, f"{top}observation")
    actions, rewards = arrays[f"{top}action"], arrays[f"{top}reward"]
    columns, _ = columns_of_steps(observations, actions, rewards, marks, alignment)
    if clip_actions:
        columns["actions"] = clip(columns["actions"], action_space)
    return {**columns, "action_space": action_space, "name": path.stem}


def recognises(path: Path) -> bool:
    """Returns whether a file has the marks of RLDS."""
    names = set(names_in(path))
    return any(names.issuperset(top + mark for mark in MARKS) for top in ("", "steps/"))


SOURCE = Source(
    summary="Steps of RLDS as arrays: is_first, is_last, is_terminal.",
    suffixes=SUFFIXES,
    recognises=recognises,
    keys=("observation", "action", "reward", *MARKS),
    read=read,
)

"""RLDS: steps with `is_first, is_last, is_terminal`, as arrays in an NPZ or HDF5 file.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR), or, with
alignment="RSA", the reward that led to the observation, as dm_env gives it. An episode's last step holds only
its final observation: its action, and under SAR its reward, mean nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offlinekit.datasets.formats.array_files import SUFFIXES, names_in, names_under, read_arrays, tree_at
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import DatasetError
from offlinekit.types import Array, rows

MARKS = ("is_first", "is_last", "is_terminal")


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
    if alignment not in ("SAR", "RSA"):
        raise ValueError(f"alignment must be 'SAR' or 'RSA', got {alignment!r}")
    names = names_in(path)
    top = "steps/" if "steps/is_first" in names else ""
    seen = names_under(names, f"{top}observation") or [f"{top}observation"]
    arrays = read_arrays(path, [*seen, *(f"{top}{name}" for name in ("action", "reward", *MARKS))])
    check_columns(arrays, f"{top}is_first")
    first, end, terminal = (as_flags(arrays[f"{top}{mark}"], mark) for mark in MARKS)
    _check_marks(first, end, terminal)
    if alignment == "RSA":
        end = end | np.append(first[1:], True)  # The reward of a recording's last action is not in it.
    kept = np.flatnonzero(~end)
    if len(kept) == 0:
        raise DatasetError("every step is a last one, expected steps with an action")
    following = np.minimum(kept + 1, len(end) - 1)
    last = end[following] | first[following]
    last[-1] = True
    known = end[following[last]]
    observations = tree_at(arrays, f"{top}observation")
    actions = arrays[f"{top}action"][kept]
    return {
        "observations": rows(observations, kept),
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": arrays[f"{top}reward"][kept if alignment == "SAR" else following],
        "terminals": (end & terminal)[following],
        "episode_terminals": last,
        "final_observations": rows(observations, following[last]),
        "final_known": known,
        "action_space": action_space,
        "name": path.stem,
    }


def _check_marks(first: Array, end: Array, terminal: Array) -> None:
    wrong = terminal & ~end
    if wrong.any():
        raise DatasetError(f"is_terminal is set at row {int(np.argmax(wrong))}, where is_last is not")
    if not first[0]:
        raise DatasetError("is_first is not set at row 0; the first episode lacks its beginning")
    lost = end[:-1] & ~first[1:]
    if lost.any():
        raise DatasetError(
            f"row {int(np.argmax(lost)) + 1} follows a last step, but is_first is not set there"
        )


def recognises(path: Path) -> bool:
    """Returns whether a file has the marks of RLDS."""
    names = set(names_in(path))
    return any(names.issuperset(top + mark for mark in MARKS) for top in ("", "steps/"))


SOURCE = Source(
    summary="Steps of RLDS as arrays: is_first, is_last, is_terminal.",
    suffixes=SUFFIXES,
    recognises=recognises,
    read=read,
)

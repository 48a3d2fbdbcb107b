"""Steps of RLDS, marked by `is_first, is_last, is_terminal`, as the columns of a dataset."""

from __future__ import annotations

import numpy as np

from offlinekit.datasets.schema import Columns
from offlinekit.datasets.validation import as_flags
from offlinekit.errors import DatasetError
from offlinekit.types import Array, ArrayTree, rows

MARKS = ("is_first", "is_last", "is_terminal")


def columns_of_steps(
    observations: ArrayTree, actions: Array, rewards: Array, marks: dict[str, Array], alignment: str = "SAR"
) -> tuple[Columns, Array]:
    """Returns columns of N steps, and the steps that are rows of a dataset, int64.

    The last step of an episode holds only its final observation: its action, and under SAR its reward, mean nothing.

    Args:
        observations: Tree of [N, ...].
        actions: [N] or [N, A].
        rewards: [N]; under "RSA" a step holds the reward that led to its observation.
        marks: [N] by name.
        alignment: "SAR" or "RSA".

    Raises:
        ValueError: For another alignment.
        DatasetError: For marks that do not fit together.
    """
    if alignment not in ("SAR", "RSA"):
        raise ValueError(f"alignment must be 'SAR' or 'RSA', got {alignment!r}")
    first, end, terminal = (as_flags(marks[mark], mark) for mark in MARKS)
    _check_marks(first, end, terminal)
    if alignment == "RSA":
        end = end | np.append(first[1:], True)  # The reward of a recording's last action is not in it.
    kept = np.flatnonzero(~end)
    if len(kept) == 0:
        raise DatasetError("every step is a last one, expected steps with an action")
    following = np.minimum(kept + 1, len(end) - 1)
    last = end[following] | first[following]
    last[-1] = True
    columns = {
        "observations": rows(observations, kept),
        "actions": actions[kept],
        "rewards": rewards[kept if alignment == "SAR" else following],
        "terminals": (end & terminal)[following],
        "episode_terminals": last,
        "final_observations": rows(observations, following[last]),
        "final_known": end[following[last]],
    }
    return columns, kept


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

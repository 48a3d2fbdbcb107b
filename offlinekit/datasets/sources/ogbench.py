"""OGBench: its NPZ files by name or by path, read without its package.

Row t holds the observation and the action taken on it (SAR). `terminals` are the ends of trajectories, none of
which is an end of the MDP; the last row of a trajectory is only the observation after the one before it. The
files hold no rewards: a goal gives them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.download import data_root, download
from offlinekit.datasets.formats.array_files import names_in, read_arrays
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, check_columns
from offlinekit.errors import DatasetError
from offlinekit.types import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

REQUIRED = ("observations", "actions", "terminals")
STATES = ("qpos", "qvel", "button_states")
URL = "https://rail.eecs.berkeley.edu/datasets/ogbench"


def load(name: str, **options: Any) -> Columns:
    """Reads a dataset of OGBench by name; the options are those of `read`.

    Args:
        name: "ogbench/" and OGBench's own name, such as "ogbench/antmaze-large-navigate-v0"; with "-val" behind
            it the validation part.
        **options: Of `read`.

    Raises:
        DownloadError: If the file is not there and cannot be fetched.
    """
    file_name = f"{name.removeprefix('ogbench/')}.npz"
    folders = [data_root() / "ogbench", Path.home() / ".ogbench" / "data", data_root()]
    found = next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)
    return read(found or download(f"{URL}/{file_name}", folders[0] / file_name, check=names_in), **options)


def read(
    path: Path,
    *,
    goal: Sequence[Any] | None = None,
    goal_column: str = "qpos",
    goal_dims: Sequence[Any] = (0, 1),
    tolerance: float = 0.5,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a file of OGBench.

    With a goal of P parts a row's reward is the number of parts reached in its state minus P, and a row in whose
    state all are reached is terminal, as in OGBench's single-task variants. Without a goal rewards are 0.
    `qpos`, `qvel` and `button_states` are kept in the extras.

    Args:
        path: The NPZ file.
        goal: [D] numbers, or [P, D] of several parts.
        goal_column: "qpos", "button_states", "observations", ...: what the goal is compared with.
        goal_dims: The D columns of it, or [P, D]: (0, 1) is the place in a maze, (15, 16) that of the ball.
        tolerance: A part is reached at this Euclidean distance or less.
        action_space: In place of [-1, 1], or of Discrete for integer actions.
        clip_actions: Whether to clip continuous actions into their range.

    Raises:
        FileFormatError: For a damaged file or one without the columns.
        DatasetError: For data that cannot be a dataset, or a goal that does not fit.
    """
    names = names_in(path)
    columns = read_arrays(path, [*REQUIRED, *(name for name in STATES if name in names)])
    check_columns(columns, "observations")
    ends = as_flags(columns.pop("terminals"), "terminals").copy()
    ends[-1] = True
    kept = np.flatnonzero(~ends)
    if len(kept) == 0:
        raise DatasetError(f"{path} has no trajectory of two rows, expected a next state for each step")
    rewards, reached = _relabelled(columns, goal, goal_column, goal_dims, tolerance)
    last = reached[kept] | ends[kept + 1]
    actions = columns["actions"][kept]
    if action_space is None and actions.dtype.kind == "f":
        action_space = spaces.Box(-1.0, 1.0, actions.shape[1:], np.float32)
    return {
        "observations": columns["observations"][kept],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": rewards[kept],
        "terminals": reached[kept],
        "episode_terminals": last,
        "final_observations": columns["observations"][kept[last] + 1],
        "action_space": action_space,
        "extras": {name: columns[name][kept] for name in STATES if name in columns},
        "name": path.stem,
        "metadata": {
            "env_note": "environments of OGBench need its package: pass env_id= once it is imported"
        },
    }


load.__signature__ = inspect.signature(read)  # type: ignore[attr-defined]  # Of get_dataset's check.


def _relabelled(
    columns: dict[str, Array], goal: ArrayLike | None, column: str, dims: ArrayLike, tolerance: float
) -> tuple[Array, Array]:
    """Returns rewards, and where the goal is reached, for each row of the file."""
    n_rows = len(columns["observations"])
    if goal is None:
        return np.zeros(n_rows, np.float32), np.zeros(n_rows, np.bool_)
    if column not in columns:
        raise DatasetError(f"goal_column must be one of {', '.join(sorted(columns))}, got {column!r}")
    targets, chosen = np.atleast_2d(np.asarray(goal, np.float64)), np.atleast_2d(np.asarray(dims))
    if targets.shape != chosen.shape or chosen.min() < 0 or chosen.max() >= columns[column].shape[1]:
        raise DatasetError(
            f"goal {targets.tolist()} and goal_dims {chosen.tolist()} must have one shape, and dims must be "
            f"columns of {column}, which has {columns[column].shape[1]}"
        )
    distances = np.linalg.norm(columns[column][:, chosen] - targets, axis=-1)
    reached = distances <= tolerance
    return (reached.sum(axis=1) - len(targets)).astype(np.float32), reached.all(axis=1)


def recognises(path: Path) -> bool:
    """Returns whether an NPZ file has OGBench's columns, of which rewards are none."""
    names = set(names_in(path))
    return names.issuperset(REQUIRED) and not names & {"rewards", "timeouts", "episode_terminals"}


SOURCE = Source(
    summary="A file of OGBench.",
    patterns={"ogbench/{name}": "A dataset of OGBench, such as ogbench/antmaze-large-navigate-v0."},
    load=load,
    suffixes=(".npz",),
    recognises=recognises,
    read=read,
)

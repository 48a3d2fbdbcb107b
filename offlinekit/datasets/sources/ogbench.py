"""OGBench: its NPZ files by name or by path, read without its package.

Row t holds the observation and the action taken on it (SAR). `terminals` are the ends of trajectories, none of
which is an end of the MDP; the last row of a trajectory is only the observation after the one before it. The
files hold no rewards: a goal gives them.

Of what its package has loaded and a user has saved, `valids` are cleared at those last rows (`terminals` are then set
at the row before, too), `next_observations` say that there are none, and `masks` are cleared where the MDP ended.
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
from offlinekit.errors import DatasetError, DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

REQUIRED = ("observations", "actions", "terminals")
STATES = ("qpos", "qvel", "button_states")
LOADED = ("valids", "masks", "rewards", "next_observations")
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
    path = next((folder / file_name for folder in folders if (folder / file_name).is_file()), None)
    return read(path or download(f"{URL}/{file_name}", folders[0] / file_name, check=names_in), **options)


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

    Rewards and masks of the file count, where it has them. With a goal of P parts a row's reward is the number of parts
    reached in its state minus P, and a row in whose state all are reached is terminal, as in OGBench's single-task
    variants. Without either rewards are 0.
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
    columns = read_arrays(path, [*REQUIRED, *(name for name in (*STATES, *LOADED) if name in names)])
    check_columns(columns, "observations")
    ends, kept = _rows_of(columns)
    if len(kept) == 0:
        raise DatasetError(f"{path} has no trajectory of two rows, expected a next state for each step")
    rewards, ended = _rewarded(columns, goal, goal_column, goal_dims, tolerance)
    last = ended[kept] | ends
    actions = columns["actions"][kept]
    if action_space is None and actions.dtype.kind == "f":
        action_space = spaces.Box(-1.0, 1.0, actions.shape[1:], np.float32)
    if "next_observations" in columns:
        following = {"next_observations": columns["next_observations"]}
    else:
        following = {"final_observations": columns["observations"][kept[last] + 1]}
    return {
        "observations": columns["observations"][kept],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": rewards[kept],
        "terminals": ended[kept],
        "episode_terminals": last,
        **following,
        "action_space": action_space,
        "extras": {name: columns[name][kept] for name in STATES if name in columns},
        "name": path.stem,
        "metadata": {
            "env_note": "environments of OGBench need its package: pass env_id= once it is imported"
        },
    }


load.__signature__ = inspect.signature(read)  # type: ignore[attr-defined]  # Of get_dataset's check.


def _rows_of(columns: dict[str, Array]) -> tuple[Array, Array]:
    """Returns the rows that are steps, int64 [K], and which of them end a trajectory, bool [K], the latter first."""
    ends = as_flags(columns.pop("terminals"), "terminals").copy()
    ends[-1] = True
    if "next_observations" in columns:
        return ends, np.arange(len(ends))
    final = ~as_flags(columns["valids"], "valids") if "valids" in columns else ends
    if not final[-1]:
        raise DatasetError("valids are set at the last row, whose next observation is not there")
    kept = np.flatnonzero(~final)
    return final[kept + 1], kept


def _rewarded(
    columns: dict[str, Array], goal: Any, column: str, dims: Any, tolerance: float
) -> tuple[Array, Array]:
    """Returns rewards, and where the MDP ended, for each row of the file: the file's own, or those of a goal."""
    if goal is not None or "rewards" not in columns:
        return _relabelled(columns, goal, column, dims, tolerance)
    n_rows = len(columns["observations"])
    ended = ~as_flags(columns["masks"], "masks") if "masks" in columns else np.zeros(n_rows, np.bool_)
    if "masks" in columns and not ended.any():
        warn_caller(
            "masks are never cleared, so that the MDP ends nowhere and terminals are timeouts, as in OGBench: pass "
            "format='npz' if terminals end the MDP, and masks are those of padding",
            DatasetWarning,
        )
    return columns["rewards"], ended


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
    """Returns whether an NPZ file has OGBench's columns: rewards only as its package loads them, else no others."""
    names = set(names_in(path))
    if not names.issuperset(REQUIRED):
        return False
    if "rewards" in names:
        return "valids" in names or names.issuperset({"masks", "next_observations"})
    return names.issubset((*REQUIRED, *STATES, *LOADED))  # Any other key may be that of rewards.


SOURCE = Source(
    summary="A file of OGBench.",
    patterns={"ogbench/{name}": "A dataset of OGBench, such as ogbench/antmaze-large-navigate-v0."},
    load=load,
    suffixes=(".npz",),
    recognises=recognises,
    keys=(*REQUIRED, *STATES, *LOADED),
    read=read,
)

"""Replay buffers of the authors of BCQ and TD3: one array a file, `<name>_state.npy`, `<name>_action.npy` and so on.

Row t holds the observation, the action taken on it, the reward that it earned and what followed (SARS). `not_done` is
cleared only where the MDP ended: an end by a step limit shows in a next state that is not the next row's. `ptr` is
where the next row would have gone, behind which the oldest ones lie in a buffer that was full.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from offlinekit.datasets.formats.array_files import names_in, only_buffer, read_arrays
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.validation import as_flags, as_vector, check_columns
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

STATE = "_state"
COLUMNS = ("state", "action", "next_state", "reward", "not_done")
ORDER = "ptr"


def read(path: Path, *, action_space: Space | None = None, clip_actions: bool = False) -> Columns:
    """Reads a buffer.

    Args:
        path: The folder of one buffer, or the file `<name>_state.npy` of one of several.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a file that is not there or damaged, or a folder of several buffers.
        DatasetError: For data that cannot be a dataset.
    """
    folder, name = (path.parent, path.stem.removesuffix(STATE)) if path.is_file() else (path, _only(path))
    known = names_in(folder)
    missing = [column for column in COLUMNS if f"{name}_{column}" not in known]
    if missing:
        raise FileFormatError(
            f"{folder} has no {name}_{missing[0]}.npy; a buffer has {', '.join(COLUMNS)}, put all of them there"
        )
    more = (ORDER,) if f"{name}_{ORDER}" in known else ()
    arrays = read_arrays(folder, [f"{name}_{column}" for column in (*COLUMNS, *more)])
    columns = {column: arrays[f"{name}_{column}"] for column in COLUMNS}
    check_columns(columns, "reward")
    if more:
        columns = _in_order(columns, int(arrays[f"{name}_{ORDER}"]))
    terminals = ~as_flags(columns["not_done"], "not_done")
    actions = columns["action"]
    return {
        "observations": columns["state"],
        "actions": clip(actions, action_space) if clip_actions else actions,
        "rewards": as_vector(columns["reward"], "reward"),
        "terminals": terminals,
        "timeouts": _cut(columns["state"], columns["next_state"]) & ~terminals,
        "next_observations": columns["next_state"],
        "action_space": action_space,
        "name": name,
    }


def _only(folder: Path) -> str:
    return only_buffer(
        folder, [name.removesuffix(STATE) for name in names_in(folder) if _is_state(name)], STATE
    )


def _is_state(name: str) -> bool:
    return name.endswith(STATE) and not name.endswith(f"_next{STATE}")


def _in_order(columns: dict[str, Array], pointer: int) -> dict[str, Array]:
    """Returns rows from the oldest to the newest."""
    n_rows = len(columns["reward"])
    if not 0 <= pointer <= n_rows:
        raise FileFormatError(
            f"{ORDER} is {pointer}, expected a row from 0 to {n_rows}; save the buffer again"
        )
    return {name: np.roll(column, -pointer, axis=0) for name, column in columns.items()}


def _cut(states: Array, following: Array) -> Array:
    """Returns where an episode ended, as what followed is not the next row; the last row is an end."""
    same = (following[:-1] == states[1:]).reshape(len(states) - 1, -1).all(1)
    return np.append(~same, True)


def recognises(path: Path) -> bool:
    """Returns whether a folder has files of a buffer, or a file is the states of one."""
    names = names_in(path if path.is_dir() else path.parent)
    states = [name for name in names if _is_state(name)] if path.is_dir() else [path.stem]
    return any(_is_state(name) and name.replace(STATE, "_not_done") in names for name in states)


SOURCE = Source(
    summary="Replay buffers of BCQ and TD3: <name>_state.npy, <name>_action.npy...",
    suffixes=(f"{STATE}.npy",),
    folders="<name>_state.npy, <name>_action.npy... of BCQ and TD3",
    recognises=recognises,
    read=read,
)

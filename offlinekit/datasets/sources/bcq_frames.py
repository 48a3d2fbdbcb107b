"""Buffers of Atari games by the authors of discrete BCQ: frames in chunks, `<name>_state_100000.npy` and so on.

Alignment: SAR, row t holds the frame, the action taken on it and the reward that it earned. `not_done` is cleared only
where the MDP ended; a step at a limit of time is not in the buffer, so what precedes a `first_timestep` otherwise is a
timeout whose next frame is in no file. `replay_info` holds where the next row would have gone, behind which the oldest
ones lie in a buffer that was full, and the rows of a chunk. The frame behind the last row is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from offlinekit.datasets.formats.array_files import names_in, only_buffer, read_arrays
from offlinekit.datasets.formats.frame_store import Part, in_memory
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.validation import as_flags, as_vector, check_columns
from offlinekit.envs.atari import described
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

COLUMNS = ("action", "reward", "not_done", "first_timestep")
INFO = "replay_info"


def read(path: Path, *, game: str | None = None) -> Columns:
    """Reads a buffer.

    Args:
        path: The folder of one buffer, or the file `<name>_replay_info.npy` of one of several.
        game: Such as "Breakout", which says the actions and the environment.

    Raises:
        FileFormatError: For a file that is not there or damaged, or a folder of several buffers.
        DatasetError: For data that cannot be a dataset.
    """
    folder, name = (
        (path.parent, path.stem.removesuffix(f"_{INFO}")) if path.is_file() else (path, _only(path))
    )
    known = names_in(folder)
    missing = [column for column in COLUMNS if f"{name}_{column}" not in known]
    if missing:
        raise FileFormatError(
            f"{folder} has no {name}_{missing[0]}.npy; a buffer has "
            f"{', '.join((*COLUMNS, INFO))}, put all of them there"
        )
    arrays = read_arrays(folder, [f"{name}_{column}" for column in (*COLUMNS, INFO)])
    columns = {column: arrays[f"{name}_{column}"] for column in COLUMNS}
    check_columns(columns, "reward")
    n_rows = len(columns["reward"])
    pointer, chunk = _info(arrays[f"{name}_{INFO}"], n_rows)
    frames, _ = in_memory(_frames(folder, name, n_rows, chunk))
    if len(frames) < n_rows:
        raise FileFormatError(
            f"{folder} has {len(frames)} frames of {name}, expected {n_rows}; put all chunks there"
        )
    order = np.roll(np.arange(n_rows), -pointer)  # From the oldest row to the newest.
    terminals = ~as_flags(columns["not_done"], "not_done")[order]
    starts = as_flags(columns["first_timestep"], "first_timestep")[order]
    return {
        "observations": frames[:n_rows] if pointer in (0, n_rows) else frames[order],
        "actions": columns["action"][order],
        "rewards": as_vector(columns["reward"], "reward")[order],
        "terminals": terminals,
        "timeouts": np.append(starts[1:], True) & ~terminals,
        "name": name,
        **described(game, 1),
    }


def _info(info: Array, n_rows: int) -> tuple[int, int]:
    """Returns where the next row would have gone, and the rows of a chunk."""
    if info.shape != (2,) or info.dtype.kind not in "iu" or not 0 <= info[0] <= n_rows or info[1] < 1:
        raise FileFormatError(
            f"{INFO} is {info.tolist()!r:.100}, expected a row from 0 to {n_rows} and the rows of a chunk; save the "
            "buffer again"
        )
    return int(info[0]), int(info[1])


def _frames(folder: Path, name: str, n_rows: int, chunk: int) -> Iterator[Part]:
    """Yields frames [b, 1, H, W] chunk by chunk; a chunk is named by the row behind its last one."""
    shape: tuple[int, ...] | None = None
    for start in range(0, n_rows, chunk):
        part = f"{name}_state_{min(start + chunk, n_rows + 1)}"
        if not (folder / f"{part}.npy").is_file():
            raise FileFormatError(f"{folder} has no {part}.npy; put all chunks of the frames there")
        frames = read_arrays(folder, [part])[part]
        if frames.dtype != np.uint8 or frames.ndim != 3 or shape not in (None, frames.shape[1:]):
            raise FileFormatError(
                f"{part}.npy holds {frames.dtype} of shape {list(frames.shape)}, expected uint8 frames of one size, "
                f"such as [{chunk}, 84, 84]; save the buffer again"
            )
        shape = frames.shape[1:]
        yield frames[:, None], {"rows": np.arange(start, start + len(frames))}


def _only(folder: Path) -> str:
    end = f"_{INFO}"
    return only_buffer(
        folder, [name.removesuffix(end) for name in names_in(folder) if name.endswith(end)], end
    )


def recognises(path: Path) -> bool:
    """Returns whether a folder has files of a buffer, or a file is what one says of itself."""
    names = names_in(path) if path.is_dir() else [path.stem]
    return any(name.endswith(f"_{INFO}") for name in names)


SOURCE = Source(
    summary="Atari buffers of discrete BCQ: <name>_state_100000.npy, <name>_action.npy...",
    suffixes=(f"_{INFO}.npy",),
    folders="<name>_replay_info.npy, <name>_state_100000.npy... of discrete BCQ",
    recognises=recognises,
    read=read,
)

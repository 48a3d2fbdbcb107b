"""Frames that are written as they come, in memory or in a file beside their columns."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

Columns: TypeAlias = dict[str, Array]
Part: TypeAlias = tuple[Array, Columns]
"""Some frames, uint8 [n, ...], and columns of any lengths."""


def in_memory(parts: Iterable[Part]) -> Part:
    """Returns all frames and all columns, taking hardly more memory than they have in the end."""
    sink = io.BytesIO()
    shape, columns = _drain(_noted(parts), sink)
    return np.frombuffer(sink.getbuffer(), np.uint8).reshape(-1, *shape), columns


def _noted(parts: Iterable[Part]) -> Iterator[Part]:
    for frames, columns in parts:
        budget_of().take(frames.nbytes + sum(values.nbytes for values in columns.values()), "all frames")
        yield frames, columns


def in_file(path: Path, make: Callable[[], Iterable[Part]]) -> Part:
    """Returns frames that stay in the file `path`, and their columns; both are written if they are missing.

    The columns lie in `<path>.npz`, which is written last.

    Raises:
        FileFormatError: If the two files do not fit together.
    """
    beside = path.with_name(f"{path.name}.npz")
    if not (path.is_file() and beside.is_file()):
        with atomic_write(path) as unfinished, unfinished.open("wb") as sink:
            shape, columns = _drain(make(), sink)
        saved: dict[str, Any] = {"frame_shape": np.array(shape), **columns}
        with atomic_write(beside) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **saved)
    try:
        with np.load(beside, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
        shape = tuple(columns.pop("frame_shape").tolist())
        frames = np.memmap(path, np.uint8, "r")
        return frames.reshape(-1, *shape), columns
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"{path} and {beside} do not fit ({error}); remove both") from error


def _drain(parts: Iterable[Part], sink: IO[bytes]) -> tuple[tuple[int, ...], Columns]:
    shape: tuple[int, ...] = ()
    columns_of_parts: dict[str, list[Array]] = {}
    for frames, columns in parts:
        sink.write(np.ascontiguousarray(frames).data)
        shape = frames.shape[1:]
        for name, values in columns.items():
            columns_of_parts.setdefault(name, []).append(values)
    if not columns_of_parts:
        raise FileFormatError("the data hold no transition; is this the right file?")
    return shape, {name: np.concatenate(values) for name, values in columns_of_parts.items()}

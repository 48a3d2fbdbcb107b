"""Named arrays in NPZ, HDF5, or a folder of NPY files, read without objects; a name's slashes are groups of HDF5."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.formats.hdf5 import DEFLATE_LIMIT
from offlinekit.errors import DatasetError, FileFormatError, did_you_mean
from offlinekit.ground.lazy_h5py import h5py
from offlinekit.load_budget import budget_of, budgeted
from offlinekit.types import Array

SUFFIXES = (".npz", ".h5", ".hdf5")
SHOWN = 16
"""Arrays that a message lists."""
DAMAGE = (OSError, EOFError, ValueError, KeyError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error)
"""Errors of a damaged NPZ file."""


@contextmanager
def open_npz(path: Path) -> Iterator[Any]:
    """Opens an NPZ file to read; damage and objects found on the way are a FileFormatError.

    Raises:
        FileFormatError: For a file that is not NPZ, is damaged, or holds objects.
    """
    if not zipfile.is_zipfile(path):
        raise FileFormatError(
            f"{path} is not an NPZ file, or is truncated; write it with np.savez_compressed"
        )
    with _damage_named(path), budgeted(), np.load(path, allow_pickle=False) as file:
        entries_of(file.zip)
        yield file


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raises FileFormatError for whatever numpy raises of a damaged file."""
    try:
        yield
    except (FileFormatError, DatasetError):
        raise
    except DAMAGE as error:
        raise FileFormatError(
            f"{path} is damaged, or holds objects, which are never read ({error})"
        ) from error


def entries_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Returns what lies in a zip file, once it is known to be packed by deflate or not at all.

    Raises:
        ValueError: For an entry that is packed in another way, which shrinks without a limit.
    """
    for entry in archive.infolist():
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{entry.filename!r} is packed by another method than deflate; zip it again")
    return archive.infolist()


def _claimed(archive: zipfile.ZipFile, name: str) -> int:
    """Returns the bytes that an array says it has, once they can lie in its part of the file."""
    entry = archive.getinfo(name if name in archive.namelist() else f"{name}.npy")
    with archive.open(entry) as stream:
        shape, _, dtype = read_header(stream, entry.compress_size)
    return max(math.prod(shape) * dtype.itemsize, entry.file_size)


def is_zip(path: Path) -> bool:
    """Returns whether a file is a zip archive, such as an NPZ file."""
    return zipfile.is_zipfile(path)


def names_in(path: Path) -> list[str]:
    """Returns the names of the arrays of a file or folder; none where it is none of the three.

    Raises:
        FileFormatError: For a damaged file.
    """
    if path.is_dir():
        return sorted(file.stem for file in path.glob("*.npy"))
    if zipfile.is_zipfile(path):
        with open_npz(path) as archive:
            return list(archive.files)
    if not hdf5.is_hdf5(path):
        return []
    names: list[str] = []
    with hdf5.open_hdf5(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def described(path: Path) -> str:
    """Returns the arrays of a file or folder with their shapes, for people; "" where it is none of the three."""
    names = names_in(path)
    shown = []
    for name in names[:SHOWN]:
        shape = _shape(path, name)
        shown.append(name if shape is None else f"{name} {shape}")
    return ", ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _shape(path: Path, name: str) -> list[int] | None:
    """Returns the shape of an array in HDF5, whose header says it at no cost."""
    if path.is_dir() or zipfile.is_zipfile(path):
        return None
    with hdf5.open_hdf5(path) as file:
        return list(file[name].shape)


def read_arrays(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Returns arrays of a file or folder by name.

    Raises:
        FileFormatError: For a damaged file, a name it lacks, objects, and text.
    """
    if path.is_dir():
        return {name: _read_npy(path / f"{name}.npy") for name in names}
    if zipfile.is_zipfile(path):
        with open_npz(path) as file:
            return {name: array_in(file, name, path) for name in names}
    with hdf5.open_hdf5(path) as file:
        return {name: _in_folders(file, name) for name in names}


def array_in(file: h5py.File, name: str, path: Path, advice: str = "") -> Array:
    """Returns an array of an open NPZ file.

    Args:
        file: As from `open_npz`.
        name: Of the array.
        path: Of the file, for messages.
        advice: What else to do if the file lacks the name.

    Raises:
        FileFormatError: For a name it lacks, and for what is no number.
    """
    if name not in file:
        hint = did_you_mean(name, file.files)
        raise FileFormatError(f"{path} has no key {name!r}{hint}; it has {', '.join(file.files)}{advice}")
    budget_of(path).take(_claimed(file.zip, name), f"{name!r} in {path}")
    array = np.asarray(file[name])
    if array.dtype.kind not in "fiub":
        raise FileFormatError(f"{name!r} in {path} has dtype {array.dtype}, expected numbers")
    return array


def _read_npy(path: Path) -> Array:
    """Returns the array of an NPY file."""
    with _damage_named(path), path.open("rb") as stream, budgeted():
        shape, _, dtype = read_header(stream, path.stat().st_size)
        budget_of(path).take(math.prod(shape) * dtype.itemsize, f"the array in {path}")
        stream.seek(0)
        array: Array = np.load(stream, allow_pickle=False)
    if array.dtype.kind not in "fiub":
        raise FileFormatError(f"{path} has dtype {array.dtype}, expected numbers")
    return array


def _in_folders(group: h5py.Group, name: str) -> Array:
    *folders, last = name.split("/")
    for folder in folders:
        group = hdf5.member(group, folder)
    return hdf5.read_array(group, last)


def names_under(names: Iterable[str], top: str) -> list[str]:
    """Returns a name, or those below it, such as "obs/camera" below "obs"."""
    return [name for name in names if name == top or name.startswith(f"{top}/")]


def tree_at(arrays: dict[str, Array], top: str) -> Any:
    """Returns the array of a name, or those below it as a dict of dicts."""
    if top in arrays:
        return arrays[top]
    inner = {
        name.removeprefix(f"{top}/"): array for name, array in arrays.items() if name.startswith(f"{top}/")
    }
    return {first: tree_at(inner, first) for first in sorted({name.split("/")[0] for name in inner})}


def read_header(stream: IO[bytes], n_packed: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns the shape, whether it lies by columns, and the dtype; leaves the stream behind the header.

    Args:
        stream: At the beginning of the array.
        n_packed: Bytes of the array as it lies in its file, packed by deflate or not.

    Raises:
        ValueError: For another format, or an array that cannot be in so few bytes.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, by_columns, dtype = read(stream)
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"its header cannot be parsed: {error}") from error
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or (size > n_packed * DEFLATE_LIMIT and not dtype.hasobject):
        raise ValueError(f"it claims shape {list(shape)}, {size:,} bytes, but has {n_packed:,} packed ones")
    return shape, by_columns, dtype


def only_buffer(folder: Path, buffers: list[str], end: str) -> str:
    """Returns the name of the one buffer in a folder of NPY files, each of which a name begins.

    Args:
        folder: Of the files.
        buffers: Names found.
        end: Of the file by which a buffer is given.

    Raises:
        FileFormatError: For none or several.
    """
    if len(buffers) != 1:
        example = f"{folder}/{buffers[0] if buffers else '<name>'}{end}.npy"
        raise FileFormatError(
            f"{folder} holds {len(buffers)} buffers, expected one; give its file, {example}"
        )
    return buffers[0]

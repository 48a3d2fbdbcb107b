"""HDF5 read with suspicion: plain arrays inside the file, nothing that points elsewhere."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.formats.inflating import Rows, check_chunks
from offlinekit.errors import FileFormatError, OfflineKitError
from offlinekit.ground.lazy_h5py import h5py
from offlinekit.load_budget import budget_of, budgeted
from offlinekit.types import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

MAGIC = b"\x89HDF\r\n\x1a\n"
DEFLATE_LIMIT = 1_100
"""Deflate shrinks by 1,032 at most: a dataset that claims more has chunks that were never written."""

DEEPEST = 32
"""Groups within groups: more are a circle of links."""

DAMAGE = (OSError, RuntimeError, KeyError, TypeError, ValueError, IndexError, AttributeError, MemoryError)
"""Errors of a damaged HDF5 file."""

SPOOLED_BYTES = 1 << 22
"""Size above which `spooled` writes to disk, and of its blocks."""

_SPOOL: ContextVar[Path | None] = ContextVar("spool", default=None)


def is_hdf5(path: Path) -> bool:
    """Returns whether a file begins as HDF5 files do."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Opens an HDF5 file to read; damage found on the way is a FileFormatError.

    Raises:
        FileNotFoundError: If there is no such file.
        FileFormatError: For a file that is not HDF5, or is damaged or truncated.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if not is_hdf5(path):
        raise FileFormatError(
            f"{path} is not HDF5: it begins with {_beginning(path)}; was it fetched completely?"
        )
    try:
        with budgeted(), h5py.File(path, "r") as file:
            yield file
    except OfflineKitError:
        raise
    except DAMAGE as error:
        raise FileFormatError(f"{path} is damaged or truncated ({error}); fetch or write it again") from error


def _beginning(path: Path) -> str:
    with path.open("rb") as file:
        return repr(file.read(16))


def keys_of(group: h5py.Group) -> list[str]:
    """Returns the names in a group in their sorted order.

    Raises:
        FileFormatError: For a name that is no text.
    """
    names = list(group.keys())
    if not all(isinstance(name, str) for name in names):
        raise FileFormatError(f"{where(group)} has a name that is no text; fetch or write it again")
    return sorted(names)


def member(group: h5py.Group, key: str) -> h5py.Group | h5py.Dataset:
    """Returns the dataset or group that lies in a group under a name.

    Raises:
        FileFormatError: If it is missing, or is a link to elsewhere.
    """
    link = group.get(key, getlink=True)
    if link is None:
        raise FileFormatError(
            f"{where(group)} has no {key!r}, it holds {', '.join(keys_of(group)) or 'nothing'}; "
            "is it another format?"
        )
    if not isinstance(link, h5py.HardLink):
        raise FileFormatError(
            f"{where(group)} has {key!r} as a {type(link).__name__}, expected data in the file"
        )
    if group.name.count("/") >= DEEPEST:
        raise FileFormatError(f"{where(group)} is nested more than {DEEPEST} deep; does a link lead back?")
    return group[key]


def read_array(group: h5py.Group, key: str, kinds: str = "fiub", dtype: DTypeLike | None = None) -> Array:
    """Returns a numeric array that lies in a group.

    Args:
        group: Of an open file.
        key: Its name there.
        kinds: Of numpy dtypes that will do; "S", bytes of one length, is as plain as numbers.
        dtype: What to read it as, block by block; its own if not given.

    Raises:
        FileFormatError: For objects, strings, links, and data that lie elsewhere or were never written.
    """
    item, folder = _numbers(group, key, kinds), _SPOOL.get()
    budget_of(group.file.filename).take(
        item.size * np.dtype(dtype or item.dtype).itemsize, f"{key!r} in {where(group)}"
    )
    if folder is None or item.size * item.dtype.itemsize < SPOOLED_BYTES or item.ndim == 0:
        array = Rows(item, dtype).read()
        stated = text_attribute(item, "sha256") if array.dtype == item.dtype else None
        if stated is not None and stated != digest_of(array):
            raise FileFormatError(f"{key!r} in {where(group)} is damaged: it does not match its hash")
        return array
    return _spooled(item, folder, dtype)


def digest_of(array: Array) -> str:
    """Returns the SHA-256 of an array's numbers in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()


@contextmanager
def spooled() -> Iterator[None]:
    """Makes `read_array` copy large arrays, block by block, into temporary files that it maps.

    Floats of 64 bits become 32 on the way, which is what datasets keep. The maps outlive the files' names.
    """
    with tempfile.TemporaryDirectory(prefix="offlinekit-") as folder:
        token = _SPOOL.set(Path(folder))
        try:
            yield
        finally:
            _SPOOL.reset(token)


def _spooled(item: h5py.Dataset, folder: Path, dtype: DTypeLike | None) -> Array:
    handle, name = tempfile.mkstemp(dir=folder)
    os.close(handle)
    dtype = np.dtype(np.float32) if dtype is None and item.dtype == np.float64 else dtype
    rows = Rows(item, dtype)
    array = np.memmap(name, rows.dtype, "w+", shape=item.shape)
    for start, part in rows.blocks():
        array[start : start + len(part)] = part
    return array


def read_blocks(group: h5py.Group, key: str, dtype: DTypeLike | None = None) -> Iterator[tuple[int, Array]]:
    """Yields a numeric array of a group in parts of some megabytes, each with its first row; a part is reused.

    Raises:
        FileFormatError: As `read_array`.
    """
    yield from Rows(_numbers(group, key), dtype).blocks()


def map_array(group: h5py.Group, key: str, kinds: str = "fiub") -> Array:
    """Returns a numeric array that lies in a group as a read-only map of its part of the file.

    Raises:
        FileFormatError: As `read_array`, and for an array that lies in pieces or compressed.
    """
    item = _numbers(group, key, kinds)
    offset = item.id.get_offset()
    if item.chunks is not None or offset is None:
        raise FileFormatError(
            f"{key!r} in {where(group)} is compressed, which cannot be mapped; "
            "load the dataset and write it again with save(path, compress=False)"
        )
    return np.memmap(group.file.filename, item.dtype, "r", offset, item.shape)


def _numbers(group: h5py.Group, key: str, kinds: str = "fiub") -> h5py.Dataset:
    item = member(group, key)
    place = f"{key!r} in {where(group)}"
    if not isinstance(item, h5py.Dataset):
        raise FileFormatError(f"{place} is a group, expected an array")
    if item.dtype.kind not in kinds:
        raise FileFormatError(f"{place} has dtype {item.dtype}, expected numbers; objects are never read")
    _check_inside(item, place)
    if item.size and item.nbytes > item.id.get_storage_size() * DEFLATE_LIMIT:
        raise FileFormatError(f"{place} claims shape {list(item.shape)}, but its data were never written")
    return item


def is_group(item: h5py.Group | h5py.Dataset) -> bool:
    """Returns whether a member is a group of others."""
    return isinstance(item, h5py.Group)


def n_axes(group: h5py.Group, key: str) -> int:
    """Returns the number of axes of an array that lies in a group; 0 for a group."""
    item = member(group, key)
    return int(item.ndim) if isinstance(item, h5py.Dataset) else 0


def read_byte_strings(group: h5py.Group, key: str) -> list[bytes]:
    """Returns rows of bytes that lie in a group, each of its own length or all of one.

    Raises:
        FileFormatError: As `read_array`.
    """
    item, place = member(group, key), f"{key!r} in {where(group)}"
    if item.dtype == np.uint8:
        return [row.tobytes() for row in read_array(group, key)]
    if h5py.check_vlen_dtype(item.dtype) != np.uint8 or item.ndim != 1:
        raise FileFormatError(f"{place} must hold rows of bytes, got {item.dtype}")
    _check_inside(item, place)
    rows, budget = [], budget_of(group.file.filename)
    for row in range(len(item)):
        rows.append(item[row].tobytes())  # One at a time, as all may be the same bytes of the file.
        budget.take(len(rows[-1]), place)
    return rows


def read_text(group: h5py.Group, key: str) -> str:
    """Returns a string attribute of a group.

    Raises:
        FileFormatError: If it is missing or not a string.
    """
    value = text_attribute(group, key)
    if value is None:
        raise FileFormatError(f"{where(group)} has no text {key!r}; is it another format?")
    return value


def text_attribute(item: h5py.Group | h5py.Dataset, key: str) -> str | None:
    """Returns a string attribute of a group or dataset, of fixed or variable length; None if there is none."""
    value = item.attrs.get(key)
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else None


def read_number(group: h5py.Group, key: str) -> int | float | bool:
    """Returns a single number that lies in a group as a dataset of shape [] or [1].

    Raises:
        FileFormatError: For anything else, NaN and infinity.
    """
    array = read_array(group, key)
    if array.size != 1 or not np.isfinite(array).all():
        raise FileFormatError(f"{key!r} in {where(group)} must be one number, got shape {list(array.shape)}")
    number: int | float | bool = array.reshape(()).item()
    return number


def where(group: h5py.Group) -> str:
    """Returns "file" or "file:/group" of a group."""
    return str(group.file.filename) + ("" if group.name == "/" else f":{group.name}")


def _check_inside(item: h5py.Dataset, place: str) -> None:
    if item.is_virtual or item.external:
        raise FileFormatError(f"{place} lies in another file, expected data in the file")
    check_chunks(item, place)


def read_string(group: h5py.Group, key: str) -> str:
    """Returns a single string that lies in a group as a dataset.

    Raises:
        FileFormatError: For anything else.
    """
    item = member(group, key)
    if not isinstance(item, h5py.Dataset) or item.shape != () or h5py.check_string_dtype(item.dtype) is None:
        raise FileFormatError(f"{key!r} in {where(group)} must be one string")
    _check_inside(item, f"{key!r} in {where(group)}")
    return str(item.asstr()[()])

"""HDF5 written so that damage is found: checksums on metadata and chunks, and no text of variable length."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from offlinekit.ground.lazy_h5py import h5py
from offlinekit.types import Array

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from typing_extensions import Buffer

CHUNK_BYTES = 1 << 20
CHUNKS_AT_ONCE = 16


class _Sink(io.FileIO):
    """A file that keeps its first error and takes all further bytes unwritten, so that HDF5 can close it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.failure: OSError | None = None

    def write(self, data: Buffer) -> int:
        """Writes all bytes, or notes why not."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while len(rest) and self.failure is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Changes the size, or notes why not."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0


@contextmanager
def written_hdf5(path: Path, track_order: bool = False) -> Iterator[h5py.File]:
    """Yields a new HDF5 file whose metadata have checksums.

    HDF5 itself cannot close a file on a full disk, and would keep it open to the end of the process.

    Args:
        path: Of the file.
        track_order: Whether members are listed in the order in which they were made.

    Raises:
        OSError: If not all of it could be written.
    """
    with _Sink(path) as sink:
        try:
            with h5py.File(sink, "w", libver="latest", track_order=track_order) as file:
                yield file
        except (OSError, RuntimeError):
            if sink.failure is None:
                raise
        if sink.failure is not None:
            raise sink.failure


def write_text(item: h5py.Group | h5py.Dataset, key: str, text: str) -> None:
    """Writes an attribute of fixed length, which lies among the metadata that have checksums.

    Text of variable length lies in a heap without one, and HDF5 may read a damaged heap for ever.
    """
    content = text.encode()
    item.attrs.create(key, content, dtype=h5py.string_dtype("utf-8", len(content)))


def write_checked(
    group: h5py.Group, key: str, column: Array, written: Callable[[float], None] = lambda _: None
) -> None:
    """Writes a column [N, ...] of at least one row to an HDF5 file, in compressed chunks with checksums.

    Args:
        group: Of the open file.
        key: Its name there.
        column: Of numbers.
        written: Is called with the number of bytes after each part.
    """
    row_bytes = max(column.nbytes // len(column), 1)
    chunk = (max(min(CHUNK_BYTES // row_bytes, len(column)), 1), *column.shape[1:])
    item = group.create_dataset(
        key,
        column.shape,
        column.dtype,
        chunks=chunk,
        compression="gzip",
        shuffle=column.itemsize > 1,
        fletcher32=True,
        track_times=False,
    )
    for start in range(0, len(column), CHUNKS_AT_ONCE * chunk[0]):
        part = column[start : start + CHUNKS_AT_ONCE * chunk[0]]
        item[start : start + len(part)] = part
        written(part.nbytes)


def write_fact(group: h5py.Group, key: str, value: ArrayLike) -> None:
    """Writes a small value to an HDF5 file, among the metadata, which have checksums."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    group.create_dataset(key, data=value, dcpl=properties, track_times=False)

"""Gzipped columns of HDF5 files, read block by block with several threads.

HDF5 inflates one chunk after another under a lock. Here chunks are fetched as they are, which is quick, and
inflated beside one another by zlib, which holds no lock, or by isal, which is twice as fast, where it is
installed. Columns stored in any other way are left to HDF5.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from offlinekit.errors import FileFormatError
from offlinekit.ground.lazy_h5py import h5py
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

THREADS = min(os.cpu_count() or 1, 4)
BLOCK_BYTES = 1 << 22
SMALL = 1 << 20
"""Bytes below which a column is left to HDF5."""


@functools.cache
def _library() -> ModuleType:
    try:
        return importlib.import_module("isal.isal_zlib")
    except ImportError:
        return zlib


LARGE = 1 << 20
"""Packed bytes of a chunk beyond which it is checked before HDF5, which has no limit, inflates it."""


class Chunk(NamedTuple):
    """Place of a chunk."""

    first: tuple[int, ...]  # Its first element.
    place: int  # Of its bytes in the file.
    size: int  # Of them.


class Rows:
    """The rows of an HDF5 dataset of N rows.

    Args:
        item: The dataset.
        dtype: What to read it as; its own if not given. Too large becomes inf.
    """

    def __init__(self, item: h5py.Dataset, dtype: DTypeLike | None = None) -> None:
        self.item, self.dtype = item, np.dtype(dtype or item.dtype)
        self.chunks = _chunks(item)

    def read(self) -> Array:
        """Returns the whole column."""
        if self.chunks is None and (self.item.ndim == 0 or self.dtype == self.item.dtype):
            return np.asarray(self.item[()], self.dtype)
        out = np.empty(self.item.shape, self.dtype)
        step = self._block_rows()
        with self._filler() as fill:
            for start in range(0, len(out), step):
                fill(out[start : start + step], start)
        return out

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yields the column in parts of some megabytes, each with its first row; a part is reused."""
        step = self._block_rows()
        buffer = np.empty((min(step, len(self.item)), *self.item.shape[1:]), self.dtype)
        with self._filler() as fill:
            for start in range(0, len(self.item), step):
                out = buffer[: len(self.item) - start]
                fill(out, start)
                yield start, out

    def _block_rows(self) -> int:
        """Returns rows of a block: whole chunks, if there are some."""
        row_bytes = max(self.item.nbytes // max(len(self.item), 1), 1)
        unit = self.item.chunks[0] if self.item.chunks else 1
        return max(int(BLOCK_BYTES // (row_bytes * unit)), 1) * int(unit)

    @contextmanager
    def _filler(self) -> Iterator[Callable[[Array, int], None]]:
        """Yields a function that fills rows from a first one on."""
        chunks = self.chunks
        if chunks is None:
            yield self._fill_plainly
            return
        with open(self.item.file.filename, "rb") as file, ThreadPoolExecutor(THREADS) as threads:

            def fill(out: Array, start: int) -> None:
                rows = range(start, start + len(out), self.item.chunks[0])
                wanted = [chunk for row in rows for chunk in chunks[row]]
                size = -(-len(wanted) // THREADS)  # Neighbours together: threads do not write to one line.
                shares = [wanted[i : i + size] for i in range(0, len(wanted), size)]
                list(threads.map(lambda share: self._inflate(file.fileno(), share, out, start), shares))

            yield fill

    def _fill_plainly(self, out: Array, start: int) -> None:
        with np.errstate(over="ignore"):
            out[...] = self.item[start : start + len(out)]

    def _inflate(self, file: int, chunks: list[Chunk], out: Array, start: int) -> None:
        shape, dtype, library = self.item.chunks, self.item.dtype, _library()
        size = math.prod(shape) * dtype.itemsize
        with np.errstate(over="ignore"):
            for chunk in chunks:
                stream = library.decompressobj()
                try:
                    content = stream.decompress(os.pread(file, chunk.size, chunk.place), size + 1)
                except (zlib.error, library.error) as error:
                    raise FileFormatError(self._damage(f" ({error})")) from error
                if len(content) != size or not stream.eof:  # Its checksum is compared at its end.
                    raise FileFormatError(self._damage(", a part has another length"))
                first = (chunk.first[0] - start, *chunk.first[1:])
                target = out[tuple(slice(at, at + n) for at, n in zip(first, shape, strict=True))]
                block = np.frombuffer(content, dtype).reshape(shape)
                target[...] = block if target.shape == shape else block[tuple(map(slice, target.shape))]

    def _damage(self, why: str) -> str:
        return f"{self.item.name!r} in {self.item.file.filename} is damaged{why}; fetch or write it again"


def check_chunks(item: h5py.Dataset, place: str) -> None:
    """Checks that the chunks of a dataset may be held one at a time.

    HDF5 makes room for a whole chunk to read one number of it, and inflates what lies in it to whatever it becomes.

    Raises:
        FileFormatError: For chunks that are too large, or inflate to more than they should.
    """
    if item.chunks is None or not item.size:
        return
    size = math.prod(item.chunks) * item.dtype.itemsize
    budget_of(item.file.filename).check(size, f"one part of {place}")
    plist = item.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if filters.count(h5py.h5z.FILTER_DEFLATE) > 1:
        raise FileFormatError(f"{place} is packed several times over, expected once; write it again")
    if h5py.h5z.FILTER_DEFLATE in filters and item.id.get_storage_size() > LARGE and _chunks(item) is None:
        _check_large(item, place, size)


def _check_large(item: h5py.Dataset, place: str, size: int) -> None:
    chunks = [item.id.get_chunk_info(i) for i in range(item.id.get_num_chunks())]
    with open(item.file.filename, "rb") as file:
        for chunk in chunks:
            if chunk.size > LARGE:
                content = os.pread(file.fileno(), chunk.size, chunk.byte_offset)
                if not _inflates_to(content, size):
                    raise FileFormatError(f"a part of {place} inflates to more than {size:,} bytes")


def _inflates_to(content: bytes, size: int) -> bool:
    """Returns whether bytes are no more than so many when they are inflated, or are not packed at all."""
    stream = zlib.decompressobj()
    try:
        left = size
        while content and left >= 0 and not stream.eof:
            left -= len(stream.decompress(content, BLOCK_BYTES))
            content = stream.unconsumed_tail
    except zlib.error:
        return True  # HDF5 says what is wrong with it.
    return left >= 0


def _chunks(item: h5py.Dataset) -> dict[int, list[Chunk]] | None:
    """Returns where the chunks lie, by their first row; None for a column that is better left to HDF5."""
    if item.chunks is None or item.nbytes < SMALL or not hasattr(item.id, "chunk_iter"):
        return None
    plist = item.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if filters != [h5py.h5z.FILTER_DEFLATE] or item.dtype.byteorder == ">" or item.file.userblock_size:
        return None
    chunks_of_row: dict[int, list[Chunk]] = {row: [] for row in range(0, len(item), item.chunks[0])}
    masked: list[int] = []

    def note(info: h5py.h5d.StoreInfo) -> None:
        chunks_of_row[info.chunk_offset[0]].append(Chunk(info.chunk_offset, info.byte_offset, info.size))
        masked.append(info.filter_mask)

    item.id.chunk_iter(note)
    per_row = math.prod(-(-n // c) for n, c in zip(item.shape[1:], item.chunks[1:], strict=True))
    whole = all(len(row) == per_row for row in chunks_of_row.values()) and not any(masked)
    return chunks_of_row if whole else None

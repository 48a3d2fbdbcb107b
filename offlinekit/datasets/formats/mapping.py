"""Arrays that lie in files and are mapped into memory; what is made of them lies in files, too, if it is large."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from offlinekit.types import Array, Tree, map_tree

LARGE = 1 << 26
"""Bytes from which on an array that is made of mapped ones goes to a file."""
BLOCK_BYTES = 1 << 23


def is_mapped(array: object) -> bool:
    """Returns whether an array lies in a file that is mapped into memory."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


def rows_of(tree: Tree[Array], index: slice | Array) -> Tree[Array]:
    """Returns tree[index] leaf by leaf, as `types.rows`; many rows of a mapped leaf are copied to a temporary file."""
    return map_tree(lambda leaf: _taken(leaf, index), tree)


def _taken(leaf: Array, index: slice | Array) -> Array:
    if isinstance(index, slice) or len(index) * leaf[:1].nbytes < LARGE or not is_mapped(leaf):
        taken: Array = leaf[index]
        return taken
    step = max(BLOCK_BYTES // leaf[:1].nbytes, 1)
    parts = (leaf[index[start : start + step]] for start in range(0, len(index), step))
    return _written(parts, (len(index), *leaf.shape[1:]), leaf.dtype)


def joined(parts: Sequence[Array]) -> Array:
    """Returns arrays [N_i, ...] as one [sum N_i, ...], as `np.concatenate`; in a temporary file as `rows_of`.

    Raises:
        ValueError: If their rows differ in shape.
    """
    if sum(part.nbytes for part in parts) < LARGE or not any(map(is_mapped, parts)):
        return np.concatenate(parts)
    shape = np.concatenate([part[:0] for part in parts]).shape[1:]  # Raises if they differ.
    dtype = np.result_type(*parts)
    return _written(iter(parts), (sum(map(len, parts)), *shape), dtype)


def _written(parts: Iterator[Array], shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Returns parts one after another, in a file without a name, which goes away with the array.

    Raises:
        OSError: If the folder of temporary files has no room for it.
    """
    with tempfile.TemporaryFile(prefix="offlinekit-") as file:
        if hasattr(os, "posix_fallocate"):  # A disk that fills up later would end the process.
            os.posix_fallocate(file.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
        array = np.memmap(file, dtype, "w+", shape=shape)
    start = 0
    for part in parts:
        array[start : start + len(part)] = part
        start += len(part)
    return array

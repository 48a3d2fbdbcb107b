"""Headers of arrays that `np.save` wrote, whose claims are checked against the bytes behind them."""

from __future__ import annotations

import gzip
import math
import tokenize
import zlib
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from offlinekit.datasets.formats.hdf5 import DEFLATE_LIMIT

UNPACKING = (OSError, EOFError, zlib.error)
"""Errors of a damaged gzip file."""


def open_packed(path: Path) -> IO[bytes]:
    """Opens an array that lies in a gzip file."""
    return cast("IO[bytes]", gzip.open(path, "rb"))


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

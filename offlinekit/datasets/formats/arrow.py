"""Tables of Arrow: Parquet and Arrow files, read with pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.errors import DatasetError, FileFormatError, MissingExtraError, require
from offlinekit.types import Array

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns a Parquet file, or some of its columns, as a pyarrow Table.

    Raises:
        MissingExtraError: Where pyarrow is not installed.
        FileFormatError: For a damaged file, or one without a column.
    """
    arrow, parquet = require("pyarrow", "arrow"), require("pyarrow.parquet", "arrow")
    try:
        file = parquet.ParquetFile(path)
        missing = [name for name in columns or () if name not in file.schema_arrow.names]
        if missing:
            raise FileFormatError(
                f"{path} has no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}"
            )
        return file.read(columns=None if columns is None else list(columns))
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileFormatError(
            f"{path} is no Parquet file, or is damaged ({error}); fetch it again"
        ) from error


def parquet_names(path: Path) -> list[str]:
    """Returns the names of the columns of a Parquet file; none if it is none, or pyarrow is not installed."""
    try:
        parquet = require("pyarrow.parquet", "arrow")
        return list(parquet.ParquetFile(path).schema_arrow.names)
    except (MissingExtraError, OSError, ValueError):  # ValueError: an ArrowInvalid.
        return []


def read_ipc(path: Path) -> pa.Table:
    """Returns an Arrow IPC file as a pyarrow Table.

    Raises:
        MissingExtraError: Where pyarrow is not installed.
        FileFormatError: For a damaged file.
    """
    arrow, ipc = require("pyarrow", "arrow"), require("pyarrow.ipc", "arrow")
    try:
        return ipc.open_file(arrow.BufferReader(path.read_bytes())).read_all()
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is no Arrow file, or is damaged ({error}); fetch it again") from error


def numbers_of(array: pa.Array | pa.ChunkedArray, place: str) -> Array:
    """Returns a column of numbers [N], or of lists of one length of them [N, D].

    Args:
        array: A pyarrow Array.
        place: Says which column it is, for messages.

    Raises:
        DatasetError: For rows without a value, lists of several lengths, and what is no number.
    """
    if array.null_count:
        raise DatasetError(f"{place} has {array.null_count} rows without a value; drop those episodes")
    is_list = "list" in str(array.type)
    if is_list:
        lengths = require("pyarrow.compute", "arrow").list_value_length(array).unique()
        if len(lengths) != 1:
            raise DatasetError(
                f"{place} must hold lists of numbers of one length, got {len(lengths)} lengths"
            )
    values = np.asarray((array.flatten() if is_list else array).to_numpy(zero_copy_only=False))
    if values.dtype.kind not in "fiub":
        raise DatasetError(f"{place} must hold numbers, or lists of them, got {array.type}")
    return values.reshape(len(array), -1) if is_list else values


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Returns tables one after another.

    Raises:
        MissingExtraError: Where pyarrow is not installed.
        FileFormatError: Where their columns differ.
    """
    arrow = require("pyarrow", "arrow")
    try:
        return arrow.concat_tables(tables)
    except arrow.ArrowException as error:
        raise FileFormatError(f"the files of a dataset differ in their columns ({error})") from error

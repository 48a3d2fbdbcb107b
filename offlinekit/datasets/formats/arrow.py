"""Tables of Arrow: Parquet and Arrow files, read with pyarrow."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.formats.arrow_sizes import check_pages, unpacked_bytes
from offlinekit.errors import DatasetError, FileFormatError, MissingExtraError, OfflineKitError, require
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

MAGIC = b"ARROW1\0\0"
DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)
NUMBER = 8
"""Bytes that the largest number takes."""
FEW = 256
"""Rows with texts or lists that are read together."""


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Returns a Parquet file, or some of its columns, as a pyarrow Table.

    Raises:
        MissingExtraError: If pyarrow is not installed.
        FileFormatError: For a damaged file, or one without a column.
    """
    parquet = require("pyarrow.parquet", "arrow")
    with _damage(f"{path} is no Parquet file, or is damaged"):
        file = parquet.ParquetFile(path)
        missing = [name for name in columns or () if name not in file.schema_arrow.names]
        if missing:
            raise FileFormatError(
                f"{path} has no column {', '.join(missing)}; it has {', '.join(file.schema_arrow.names)}"
            )
        return _checked(_read_columns(file, None if columns is None else list(columns), path), path)


def _read_columns(file: pq.ParquetFile, columns: list[str] | None, path: Path) -> pa.Table:
    """Returns columns as a Table; texts and lists, which may be of any size, are read a few rows at a time."""
    budget, facts = budget_of(path), file.metadata
    groups = [facts.row_group(i) for i in range(facts.num_row_groups)]  # Of columns pyarrow ends the process
    n_columns = facts.num_columns if columns is None else len(columns)  # where their facts are damaged.
    claimed = max(sum(group.total_byte_size for group in groups), NUMBER * facts.num_rows * n_columns)
    budget.take(claimed, f"the columns of {path}")
    check_pages(path)
    if all(_is_number(field.type) for field in file.schema_arrow):
        return file.read(columns=columns)
    batches = []
    for batch in file.iter_batches(batch_size=FEW, columns=columns):
        budget.take(batch.nbytes, f"the columns of {path}")
        batches.append(batch)
    return require("pyarrow", "arrow").Table.from_batches(batches, None if batches else file.schema_arrow)


def _is_number(kind: pa.DataType) -> bool:
    types = require("pyarrow", "arrow").types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


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
        MissingExtraError: If pyarrow is not installed.
        FileFormatError: For a damaged file.
    """
    arrow, ipc = require("pyarrow", "arrow"), require("pyarrow.ipc", "arrow")
    with _damage(f"{path} is no Arrow file, or is damaged"):
        content = path.read_bytes()
        if not content.startswith(MAGIC):
            raise FileFormatError(f"{path} is no Arrow file: it begins with {content[:8]!r}")
        messages = arrow.py_buffer(content).slice(len(MAGIC))
        budget_of(path).take(len(content) + unpacked_bytes(messages), f"the columns of {path}")
        return _checked(ipc.open_stream(messages).read_all(), path)


@contextmanager
def _damage(what: str) -> Iterator[None]:
    """Turns errors of pyarrow for a damaged file into a FileFormatError."""
    arrow = require("pyarrow", "arrow")
    try:
        yield
    except OfflineKitError:
        raise
    except (arrow.ArrowException, *DAMAGE) as error:
        raise FileFormatError(f"{what} ({error}); fetch it again") from error


def _checked(table: pa.Table, path: Path) -> pa.Table:
    """Returns a table once its offsets and texts are known to be sound, which pyarrow itself believes."""
    table.validate(full=True)
    budget_of(path).check(NUMBER * table.num_rows * table.num_columns, f"{table.num_rows:,} rows of {path}")
    if len(set(table.column_names)) < len(table.column_names):
        raise FileFormatError(f"{path} has two columns of one name; name them apart")
    return table


def numbers_of(array: pa.Array | pa.ChunkedArray, place: str) -> Array:
    """Returns a column of numbers [N], or of lists of one length of them [N, D].

    Args:
        array: A pyarrow Array.
        place: Says which column it is, for messages.

    Raises:
        DatasetError: For rows without a value, lists of several lengths, and what is no number.
    """
    with _damage(f"{place} is no column of numbers"):
        return _numbers_of(array, place)


def _numbers_of(array: pa.Array | pa.ChunkedArray, place: str) -> Array:
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
        MissingExtraError: If pyarrow is not installed.
        FileFormatError: If their columns differ.
    """
    arrow = require("pyarrow", "arrow")
    try:
        return arrow.concat_tables(tables)
    except arrow.ArrowException as error:
        raise FileFormatError(f"the files of a dataset differ in their columns ({error})") from error

"""Tables of Arrow: Parquet and Arrow files, read with pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError, require


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> Any:
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


def read_ipc(path: Path) -> Any:
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


def joined(tables: Iterable[Any]) -> Any:
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

"""Files of tables as DataFrames."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offlinekit.datasets.formats.arrow import read_parquet
from offlinekit.datasets.formats.gzipped import UNPACKING, open_unpacked
from offlinekit.errors import FileFormatError, require
from offlinekit.io import read_small
from offlinekit.load_budget import budget_of
from offlinekit.tables.table_columns import GAPS
from offlinekit.tables.table_schema import TableSchema

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
MOST_HEADER = 1 << 20
"""Bytes of a header line that are looked at."""
COLUMN_OPERATIONS = 500
"""Of the budget, for a column of a CSV file."""
NO_VALUE = [*GAPS, *map(str.upper, GAPS), "NaN", "NaT", "None"]
"""Cells of a column of numbers without a value; a label may be None, or NA if it is declared."""
NO_CELL = [*NO_VALUE, " ", "#N/A N/A", "#NA", "-NaN", "-nan", *("-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN")]
"""Cells without a value of a column of which nothing is known, as of `pandas.read_csv`."""


def read_frame(
    path: Path,
    schema: TableSchema | None = None,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    texts: Iterable[str] = (),
) -> pd.DataFrame:
    """Reads a CSV or TSV file with a header line, gzipped or not, or a Parquet file.

    Args:
        path: The file.
        schema: Of the table: cells of its labels stay the texts that they are; None leaves that to pandas.
        separator: Between the cells of a text file; None finds ",", ";", tabs or "|" by the header line.
        decimal: The decimal mark of a text file; None takes that of the schema, else ".".
        thousands: The mark between thousands of a text file's numbers; None if there is none.
        texts: Further columns whose cells stay texts, such as names of episodes: one may be called NA or None.

    Raises:
        MissingExtraError: If pandas, or pyarrow for Parquet, is not installed.
        FileFormatError: For a file that is not a table.
    """
    if path.suffix.lower() == ".parquet":
        require("pandas", "pandas")
        return read_parquet(path).to_pandas()
    texts = [*texts, *_labelled(schema)]
    decimal = decimal or ("." if schema is None else schema.decimal)
    options: dict[str, Any] = {"decimal": decimal, "thousands": thousands, "dtype": dict.fromkeys(texts, str)}
    if schema is None:
        return _read_text(path, separator, options)
    gaps = {name: [""] if name in texts else NO_VALUE for name in (*schema.columns, *texts)}
    return _read_text(path, separator, {**options, "keep_default_na": False, "na_values": gaps})


def read_texts(path: Path, *, separator: str | None = None) -> pd.DataFrame:
    """Reads a table whose columns mean nothing yet: of a text file every cell as the text that it is."""
    if path.suffix.lower() == ".parquet":
        return read_frame(path)
    return _read_text(path, separator, {"dtype": str, "keep_default_na": False})


def read_rows(
    path: Path, schema: TableSchema, *, separator: str | None = None, decimal: str | None = None
) -> pd.DataFrame | list[dict[str, object]]:
    """Reads rows to decide on: a table as of `read_frame`, or a list of dicts in a .json file.

    Raises:
        MissingExtraError, FileFormatError: As `read_frame`.
    """
    if path.suffix.lower() != ".json":
        return read_frame(path, schema, separator=separator, decimal=decimal)
    try:
        data = json.loads(read_small(path))
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is no JSON ({error}); give a list of objects, one a row") from error
    rows = [data] if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise FileFormatError(f"{path} must hold a list of objects, one a row, got {str(data)[:80]}")
    return rows


def _labelled(schema: TableSchema | None) -> list[str]:
    """Returns the columns of a schema whose cells are names."""
    if schema is None:
        return []
    columns = [c.name for c in (*schema.observations, *schema.actions) if c.kind != "number"]
    return [*columns, *([] if schema.episode is None else [schema.episode])]


def _read_text(path: Path, separator: str | None, options: dict[str, Any]) -> pd.DataFrame:
    pandas = require("pandas", "pandas")
    try:
        with open_unpacked(path) as content:
            header = content.readline(MOST_HEADER).decode("utf-8-sig", errors="replace")
            separator = separator or max(SEPARATORS, key=lambda mark: len(_cells(header, mark)))
            names = _cells(header, separator)
            budget_of(path).work(COLUMN_OPERATIONS * len(names))
            content.seek(0)
            if "keep_default_na" not in options:  # A name may be NA or None.
                gaps = {name: [""] if name in options["dtype"] else NO_CELL for name in names}
                options = {**options, "keep_default_na": False, "na_values": gaps}
            with warnings.catch_warnings():
                warnings.simplefilter("error", pandas.errors.ParserWarning)  # Of rows longer than the header.
                frame = pandas.read_csv(content, sep=separator, index_col=False, **options)
            if len(set(names)) < len(names) == frame.shape[1]:  # Which pandas would tell apart by numbers.
                frame.columns = names
    except (ValueError, csv.Error, *UNPACKING, pandas.errors.ParserWarning) as error:
        raise FileFormatError(
            f"{path} is not a CSV table with a header line, or is damaged ({error})"
        ) from error
    return frame


def _cells(header: str, separator: str) -> list[str]:
    return next(csv.reader([header], delimiter=separator), [])

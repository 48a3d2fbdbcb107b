"""Rows of RLlib's newer API, which writes one step a line or a row of a table, put together as batches.

Such a row holds `obs`, `actions`, `rewards`, `new_obs`, `terminateds`, `truncateds` and what a policy gave beside its
actions, and says its episode by `eps_id`; rows of one episode follow one another in time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from offlinekit.datasets.formats.arrow import parquet_names, read_parquet
from offlinekit.datasets.formats.json_files import parse
from offlinekit.datasets.formats.packed_arrays import unpack
from offlinekit.errors import FileFormatError
from offlinekit.types import Array

ROW = ("obs", "actions", "rewards")
PACKED = ("obs", "new_obs", "actions")
"""Columns whose values may be packed arrays."""


def batches(lines: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yields batches with where they stand; neighbouring rows of the same columns become one.

    Args:
        lines: Batches and rows, with where they stand.
    """
    for columns, group in itertools.groupby(lines, key=lambda pair: _columns_of_row(pair[1])):
        if columns is None:
            yield from group
            continue
        numbered = list(group)
        rows = [row for _, row in numbered]
        yield numbered[0][0], {name: _values([row[name] for row in rows], name) for name in columns}


def _columns_of_row(line: object) -> tuple[str, ...] | None:
    """Returns the names of what a row holds, or None for a batch."""
    if not isinstance(line, dict) or "type" in line or not isinstance(line.get("rewards"), int | float):
        return None
    return tuple(sorted(name for name, value in line.items() if value is not None))


def _values(values: list[Any], name: str) -> Array | list[Any] | dict[str, Any]:
    """Returns the values of a column as one list or array; dicts as a dict of columns."""
    if name in PACKED and all(isinstance(value, str) for value in values):
        unpacked = [unpack(value) for value in values]
        shapes = {array.shape for array in unpacked}
        if len(shapes) > 1:
            raise FileFormatError(f"{name!r} has rows of differing shape: {sorted(shapes)[:4]}")
        return np.stack(unpacked)
    if all(isinstance(value, dict) for value in values) and len({tuple(value) for value in values}) == 1:
        return {key: _values([value[key] for value in values], name) for key in values[0]}
    return values


def is_row_line(line: bytes) -> bool:
    """Returns whether a line is a row."""
    if not line.lstrip().startswith(b"{") or b'"obs"' not in line:
        return False
    try:
        columns = _columns_of_row(parse(line))
    except ValueError:
        return False
    return columns is not None and set(columns).issuperset(ROW)


def is_table(path: Path) -> bool:
    """Returns whether a Parquet file has the columns of rows."""
    names = set(parquet_names(path))
    return names.issuperset((*ROW, "eps_id")) or names == {"item"}


def batch_of_table(path: Path) -> dict[str, Any]:
    """Returns the rows of a Parquet file as one batch.

    Raises:
        FileFormatError: For a damaged file, or one of whole episodes.
    """
    table = read_parquet(path)
    if table.column_names == ["item"]:
        raise FileFormatError(
            f"{path} holds episodes as msgpack, not columns; record with output_write_episodes=False"
        )
    columns = {
        name: values for name, values in table.to_pydict().items() if any(v is not None for v in values)
    }
    return {name: _values(values, name) for name, values in columns.items()}

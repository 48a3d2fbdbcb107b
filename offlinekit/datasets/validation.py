"""Turns what a caller gives into checked columns; an error names the field, the row and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from offlinekit.errors import DatasetError
from offlinekit.types import Array, leaves

BLOCK_BYTES = 1 << 25


def as_array(values: Any, field: str) -> Array:
    """Returns values as an array of numbers.

    Raises:
        DatasetError: Where they are ragged, or hold objects, strings or complex numbers.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"{field} must be one array of numbers, got rows of differing shape ({error})"
        ) from error
    if array.dtype.kind not in "fiub":
        raise DatasetError(
            f"{field} must hold numbers, got dtype {array.dtype}; "
            "convert it first, e.g. np.asarray(x, np.float32)"
        )
    return array


def as_float32(array: Array) -> Array:
    """Returns an array as float32, the same one where it is float32 already; too large becomes inf."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def as_vector(values: Any, field: str) -> Array:
    """Returns [N] from [N] or [N, 1].

    Raises:
        DatasetError: For any other shape.
    """
    array = as_array(values, field)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DatasetError(f"{field} must have shape [N], one number a row, got shape {list(array.shape)}")
    return array


def as_flags(values: Any, field: str) -> Array:
    """Returns a bool [N] from booleans or from numbers that are 0 or 1.

    Raises:
        DatasetError: Naming the first row that is neither.
    """
    array = as_vector(values, field)
    if array.dtype != np.bool_:
        wrong = (array != 0) & (array != 1)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DatasetError(
                f"{field} must be 0 or 1, got {array[row]} at row {row}; convert with e.g. x > 0.5"
            )
    return array.astype(np.bool_, copy=False)


def as_extras(extras: dict[str, Any] | None, field: str, expected: int, unit: str) -> dict[str, Array]:
    """Returns further columns by name, each [expected, ...] of numbers or bytes, their dtypes kept.

    Raises:
        DatasetError: For objects, empty rows, or another length.
    """
    columns = {str(name): np.asarray(column) for name, column in (extras or {}).items()}
    for name, column in columns.items():
        place = f"{field}[{name!r}]"
        if column.dtype.kind not in "fiubS" or column.ndim == 0 or 0 in column.shape[1:]:
            raise DatasetError(
                f"{place} must be one array [N, ...] of numbers or bytes, got {column.dtype} of shape "
                f"{list(column.shape)}"
            )
        check_length(column, place, expected, unit)
    return columns


def as_observations(tree: Any, field: str = "observations") -> Any:
    """Returns a tree of [N, ...] leaves: uint8 kept, everything else as float32, dict keys sorted.

    Raises:
        DatasetError: For leaves that are not numbers, without features, or without entries.
    """
    if isinstance(tree, dict):
        if not tree:
            raise DatasetError(f"{field} is a dict without entries; give at least one array")
        return {str(key): as_observations(tree[key], f"{field}[{key!r}]") for key in sorted(tree, key=str)}
    if isinstance(tree, tuple):
        if not tree:
            raise DatasetError(f"{field} is a tuple without entries; give at least one array")
        return tuple(as_observations(branch, f"{field}[{i}]") for i, branch in enumerate(tree))
    array = as_array(tree, field)
    if array.ndim < 2 or 0 in array.shape[1:]:
        raise DatasetError(
            f"{field} must have shape [N, ...] with at least one feature axis, got {list(array.shape)}; "
            "a single feature is x[:, None], and a state number is one-hot encoded, e.g. np.eye(n)[x]"
        )
    return array if array.dtype == np.uint8 else as_float32(array)


def named_leaves(tree: Any, field: str) -> list[tuple[str, Array]]:
    """Returns (name, leaf) of each leaf, named like `observations['camera']`."""
    if isinstance(tree, dict):
        return [pair for key in tree for pair in named_leaves(tree[key], f"{field}[{key!r}]")]
    if isinstance(tree, tuple):
        return [pair for i, branch in enumerate(tree) for pair in named_leaves(branch, f"{field}[{i}]")]
    return [(field, tree)]


def check_length(tree: Any, field: str, expected: int, unit: str = "rows") -> None:
    """Raises DatasetError unless every leaf has the expected length."""
    for name, leaf in named_leaves(tree, field):
        if np.ndim(leaf) == 0:
            raise DatasetError(f"{name} is a single number, expected one entry for each of {expected} {unit}")
        if len(leaf) != expected:
            raise DatasetError(
                f"{name} has {len(leaf)} {unit}, expected {expected}; every column needs one entry for each"
            )


def check_columns(columns: dict[str, Any], like: str) -> None:
    """Raises DatasetError unless every column has one entry for each of the column `like`, which has some.

    Args:
        columns: Trees of arrays by name.
        like: Name of the column whose rows count.
    """
    for column, tree in columns.items():
        if not leaves(tree):
            raise DatasetError(f"{column} holds nothing, expected an array with one entry for each row")
        for name, leaf in named_leaves(tree, column):
            if np.ndim(leaf) == 0:
                raise DatasetError(
                    f"{name} must have shape [N] or [N, ...], one entry a row, got a single value"
                )
    n_rows = len(leaves(columns[like])[0])
    if n_rows == 0:
        raise DatasetError(f"{like} is empty, expected at least one row; was anything recorded?")
    for column, tree in columns.items():
        check_length(tree, column, n_rows)


def check_like(tree: Any, other: Any, field: str, like: str) -> None:
    """Raises DatasetError unless a tree has the structure, row shapes and dtypes of another."""
    ours, theirs = named_leaves(tree, ""), named_leaves(other, "")
    if [name for name, _ in ours] != [name for name, _ in theirs]:
        raise DatasetError(
            f"{field} must have the structure of {like}, {[name for name, _ in theirs]}, "
            f"got {[name for name, _ in ours]}"
        )
    for (name, leaf), (_, model) in zip(ours, theirs, strict=True):
        if leaf.shape[1:] != model.shape[1:] or leaf.dtype != model.dtype:
            raise DatasetError(
                f"{field}{name} must be {model.dtype} rows of shape {list(model.shape[1:])} as in {like}, "
                f"got {leaf.dtype} rows of shape {list(leaf.shape[1:])}"
            )


def check_finite(tree: Any, field: str, place: Callable[[int], str]) -> None:
    """Raises DatasetError at the first value that is NaN or infinite as float32.

    Args:
        tree: Columns of [N, ...].
        field: Their name.
        place: Says where a row is, e.g. "row 7 of episode 2".
    """
    for name, leaf in named_leaves(tree, field):
        if leaf.dtype.kind != "f" or _sum_is_finite(leaf):
            continue
        wrong = ~np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1)
        if wrong.any():
            row = int(np.argmax(wrong))
            value = next(v for v in leaf[row].ravel() if not np.isfinite(v))
            raise DatasetError(
                f"{name} must be finite, got {value} at {place(row)} ({int(wrong.sum())} such rows); "
                "drop those episodes or repair the values"
            )


def _sum_is_finite(leaf: Array) -> bool:
    """Returns whether the sum is finite, which it is only where every term is; takes no memory."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(leaf.sum()))


def same_rows(left: Any, right: Any, but: Array) -> bool:
    """Returns whether two trees of [M, ...] are equal in every row but those where `but` is set."""
    for a, b in zip(leaves(left), leaves(right), strict=True):
        block = max(BLOCK_BYTES // max(a[:1].nbytes, 1), 1)
        for start in range(0, len(a), block):
            part = slice(start, start + block)
            here, there, aside = a[part], b[part], but[part]
            if np.count_nonzero(here != there) != np.count_nonzero(here[aside] != there[aside]):
                return False
    return True

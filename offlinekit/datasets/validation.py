"""Turns what a caller gives into checked columns; an error names the field, the row and the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets.findings import Finding, fault, refuse_first, refused
from offlinekit.envs.legal_actions import LEGAL_ACTIONS
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree

BLOCK_BYTES = 1 << 25
CONVERT = "convert it first, e.g. np.asarray(x, np.float32)"
CONVERSIONS = {
    "O": "make one array of numbers of it, e.g. np.array(x.tolist(), np.float32), without rows that hold None",
    "c": "take np.stack([x.real, x.imag], -1), or one of both",
    "M": "count seconds from a start, e.g. (x - x.min()) / np.timedelta64(1, 's')",
    "m": "count seconds, e.g. x / np.timedelta64(1, 's')",
}
"""What to do with arrays of other kinds than numbers, by the kind of their dtype."""
LABELS = (
    "number texts by np.unique(x, return_inverse=True)[1] if they are labels, by np.asarray(x, np.float32) if they are "
    "numbers; in a table, a schema says what they are: offlinekit datasets init TABLE"
)
BY_EPISODE = "if they are episodes, put their rows below one another by np.concatenate(x)"
ONE_EACH = "every column needs one entry for each"


def as_array(values: object, field: str) -> Array:
    """Returns values as an array of numbers.

    Raises:
        DatasetError: If they are ragged or masked, or hold objects, strings or complex numbers.
    """
    array = _as_one_array(values, field)
    if array.dtype.kind not in "fiub":
        is_text = array.dtype.kind in "OUS" and array.size and isinstance(array.flat[0], str | bytes)
        fix = LABELS if is_text else CONVERSIONS.get(array.dtype.kind, CONVERT)
        raise refused(field, f"must hold numbers, got dtype {array.dtype}", fix)
    return array


def _as_one_array(values: object, field: str) -> Array:
    """Returns values as an array of any dtype; those that are ragged or masked raise DatasetError."""
    try:
        array = np.asarray(values)
    except RuntimeError as error:  # Of tensors with a gradient.
        raise refused(
            field, f"must be plain numbers ({error})", "detach them by x.detach().cpu().numpy()"
        ) from error
    except (ValueError, TypeError) as error:
        message = f"must be one array of numbers, got rows of differing shape ({error})"
        fix = "pad them to one shape, or keep those of one shape"
        if isinstance(values, list) and all(np.ndim(each) for each in values if isinstance(each, np.ndarray)):
            fix = f"{BY_EPISODE}; else {fix}"
        raise refused(field, message, fix) from error
    if np.ma.is_masked(values):
        raise refused(field, "has masked values", "fill them, e.g. x.filled(np.nan), and drop those episodes")
    return array


def as_float32(array: Array) -> Array:
    """Returns an array as float32, the same one where it is float32 already; too large becomes inf."""
    with np.errstate(over="ignore"):
        return array.astype(np.float32, copy=False)


def as_vector(values: object, field: str) -> Array:
    """Returns [N] from [N] or [N, 1].

    Raises:
        DatasetError: For any other shape.
    """
    array = as_array(values, field)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        message = f"must have shape [N], one number a row, got shape {list(array.shape)}"
        raise refused(field, message, "choose one column, e.g. x[:, 0]")
    return array


def as_flags(values: object, field: str) -> Array:
    """Returns a bool [N] from booleans or from numbers that are 0 or 1.

    Raises:
        DatasetError: Naming the first row that is neither.
    """
    array = as_vector(values, field)
    if array.dtype != np.bool_:
        wrong = np.flatnonzero((array != 0) & (array != 1))
        if len(wrong):
            message = f"must be 0 or 1, got {array[wrong[0]]}"
            raise refused(field, message, "convert with e.g. x > 0.5", wrong)
    return array.astype(np.bool_, copy=False)


def as_legal_actions(values: object, field: str) -> Array:
    """Returns legal actions as uint8 [N, A], from booleans or from numbers that are 0 or 1.

    Raises:
        DatasetError: For another shape, or naming the first row with another number.
    """
    array = as_array(values, field)
    if array.ndim != 2 or 0 in array.shape[1:]:
        message = f"must have shape [N, A], an entry for each action, got {list(array.shape)}"
        raise refused(field, message, "mark each of the A actions 1 where it is legal, else 0")
    wrong = np.flatnonzero(((array != 0) & (array != 1)).any(1))
    if len(wrong):
        message = f"must be 0 or 1, got {array[wrong[0]].tolist()}"
        raise refused(field, message, "mark each action 1 where it is legal, else 0", wrong)
    return array.astype(np.uint8, copy=False)


def as_extras(extras: object, field: str) -> dict[str, Array]:
    """Returns further columns by name, each [N, ...] of numbers or bytes, their dtypes kept.

    Raises:
        DatasetError: For what is no dict, for keys that are equal as text, for objects, for masked values, or for empty
            rows.
    """
    if not isinstance(extras, dict):
        raise refused(field, f"must be a dict of columns, got {type(extras).__name__}", "name each column")
    _check_keys(extras, field)
    columns = {str(name): _as_one_array(column, f"{field}[{str(name)!r}]") for name, column in extras.items()}
    for name, column in columns.items():
        if column.dtype.kind not in "fiubS" or column.ndim == 0 or 0 in column.shape[1:]:
            got = f"{column.dtype} of shape {list(column.shape)}"
            message = f"must be one array [N, ...] of numbers or bytes, got {got}"
            raise refused(
                f"{field}[{name!r}]",
                message,
                "texts become bytes by np.char.encode(x); leave anything else out",
            )
    return columns


def as_observations(tree: object, field: str = "observations") -> ArrayTree:
    """Returns a tree of [N, ...] leaves: uint8 kept, everything else as float32, dict keys sorted.

    Raises:
        DatasetError: For leaves that are not numbers, without features, or without entries.
    """
    if isinstance(tree, dict | tuple) and not tree:
        message = f"is a {type(tree).__name__} without entries"
        raise refused(field, message, "give at least one array")
    if isinstance(tree, dict):
        _check_keys(tree, field)
        return {str(key): _as_branch(tree, key, f"{field}[{key!r}]") for key in sorted(tree, key=str)}
    if isinstance(tree, tuple):
        return tuple(as_observations(branch, f"{field}[{i}]") for i, branch in enumerate(tree))
    array = as_array(tree, field)
    if array.ndim < 2 or 0 in array.shape[1:]:
        message = f"must have shape [N, ...] with at least one feature axis, got {list(array.shape)}"
        fix = "a single feature is x[:, None], and a state number is one-hot encoded, e.g. np.eye(n)[x]"
        raise refused(field, message, fix)
    return array if array.dtype == np.uint8 else as_float32(array)


def _as_branch(tree: dict[Any, Any], key: object, field: str) -> ArrayTree:
    read = as_legal_actions if key == LEGAL_ACTIONS else as_observations
    return read(tree[key], field)


def _check_keys(tree: dict[Any, Any], field: str) -> None:
    """Raises DatasetError if two keys of a dict are equal as text, of which one would be lost."""
    read = Counter(str(key) for key in tree).most_common(1)
    if read and read[0][1] > 1:
        raise refused(field, f"has two keys that read {read[0][0]!r}", "give each its own name")


def named_leaves(tree: ArrayTree, field: str) -> list[tuple[str, Array]]:
    """Returns (name, leaf) of each leaf, named like `observations['camera']`."""
    if isinstance(tree, dict):
        return [pair for key in tree for pair in named_leaves(tree[key], f"{field}[{key!r}]")]
    if isinstance(tree, tuple):
        return [pair for i, branch in enumerate(tree) for pair in named_leaves(branch, f"{field}[{i}]")]
    return [(field, tree)]


def misfits(tree: ArrayTree, field: str, expected: int, unit: str = "rows") -> Iterator[Finding]:
    """Yields a fault for each leaf that has another length than expected."""
    for name, leaf in named_leaves(tree, field):
        if np.ndim(leaf) == 0:
            message = f"is a single number, expected one entry for each of {expected} {unit}"
            yield fault(name, message, ONE_EACH)
        elif len(leaf) != expected:
            yield fault(name, f"has {len(leaf)} {unit}, expected {expected}", ONE_EACH)


def check_length(tree: ArrayTree, field: str, expected: int, unit: str = "rows") -> None:
    """Raises DatasetError unless every leaf has the expected length."""
    refuse_first(misfits(tree, field, expected, unit))


def check_columns(columns: dict[str, Any], like: str) -> None:
    """Raises DatasetError unless every column has one entry for each of the column `like`, which has some.

    Args:
        columns: Trees of arrays by name.
        like: Name of the column whose rows count.
    """
    for column, tree in columns.items():
        if not leaves(tree):
            raise refused(column, "holds nothing, expected an array with one entry for each row", ONE_EACH)
        for name, leaf in named_leaves(tree, column):
            if np.ndim(leaf) == 0:
                message = "must have shape [N] or [N, ...], one entry a row, got a single value"
                raise refused(name, message, ONE_EACH)
    n_rows = len(leaves(columns[like])[0])
    if n_rows == 0:
        raise refused(like, "is empty, expected at least one row", "check whether anything was recorded")
    for column, tree in columns.items():
        check_length(tree, column, n_rows)


def unlike(tree: ArrayTree, model: ArrayTree, field: str, like: str) -> Iterator[Finding]:
    """Yields a fault for each leaf that has not the row shape and dtype of a model's, or one for another structure."""
    ours, theirs = named_leaves(tree, field), named_leaves(model, field)
    fix = f"give the same arrays, shapes and dtypes as for {like}"
    if [name for name, _ in ours] != [name for name, _ in theirs]:
        structures = [[name.removeprefix(field) for name, _ in each] for each in (theirs, ours)]
        yield fault(field, f"must have the structure of {like}, {structures[0]}, got {structures[1]}", fix)
        return
    for (name, leaf), (_, other) in zip(ours, theirs, strict=True):
        if leaf.shape[1:] != other.shape[1:] or leaf.dtype != other.dtype:
            message = (
                f"must be {other.dtype} rows of shape {list(other.shape[1:])} as in {like}, "
                f"got {leaf.dtype} rows of shape {list(leaf.shape[1:])}"
            )
            yield fault(name, message, fix)


def not_finite(tree: ArrayTree, field: str) -> Iterator[Finding]:
    """Yields a fault for each leaf [N, ...] that holds NaN or infinities."""
    for name, leaf in named_leaves(tree, field):
        if leaf.dtype.kind != "f" or _sum_is_finite(leaf):
            continue
        wrong = where_any(leaf, lambda part: ~np.isfinite(part))
        if len(wrong):
            value = next(v for v in leaf[wrong[0]].ravel() if not np.isfinite(v))
            fix = "drop those episodes, as nonfinite='drop' does, or repair the values"
            yield fault(name, f"must be finite, got {value}", fix, wrong)


def blocks(leaf: Array, n_bytes: int = BLOCK_BYTES) -> Iterator[Array]:
    """Yields [N, ...] in parts of about so many bytes, each a view."""
    size = max(n_bytes // max(leaf[:1].nbytes, 1), 1)
    return (leaf[start : start + size] for start in range(0, len(leaf), size))


def where_any(leaf: Array, holds: Callable[[Array], Array]) -> Array:
    """Returns the rows of [N, ...] in which a condition holds of any number; taken block by block, in little memory."""
    parts = [holds(part).reshape(len(part), -1).any(axis=1) for part in blocks(leaf)]
    return np.flatnonzero(np.concatenate([np.zeros(0, np.bool_), *parts]))


def _sum_is_finite(leaf: Array) -> bool:
    """Returns whether the sum is finite, which it is only if every term is; takes no memory."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(leaf.sum()))


def same_rows(left: ArrayTree, right: ArrayTree, but: Array) -> bool:
    """Returns whether two trees of [M, ...] are equal in every row but those where `but` is set."""
    for a, b in zip(leaves(left), leaves(right), strict=True):
        block = max(BLOCK_BYTES // max(a[:1].nbytes, 1), 1)
        for start in range(0, len(a), block):
            part = slice(start, start + block)
            here, there, aside = a[part], b[part], but[part]
            if np.count_nonzero(here != there) != np.count_nonzero(here[aside] != there[aside]):
                return False
    return True

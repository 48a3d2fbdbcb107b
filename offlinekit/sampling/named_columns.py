"""The columns that a batch carries by name: where each comes from, where it lies, and how it is found again."""

from __future__ import annotations

import copy
import keyword
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.findings import refuse_first
from offlinekit.datasets.validation import not_finite
from offlinekit.errors import DatasetError, did_you_mean
from offlinekit.sampling.packing import Column
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

COMPUTED = ("next_actions", "returns", "lambda_returns", "rows", "imagined", "next_known")
"""Columns that samplers make of a dataset's others."""

NUMBERS = "row numbers"
"""The extra of a part of a dataset that holds the numbers of its rows in the whole; no identifier, as no column is."""

Parts: TypeAlias = Sequence[Tensor]
Find: TypeAlias = "Callable[[Parts, Parts, Tensor | None], Tensor | None]"
"""Finds a column in what was gathered: of the rows, of their next ones, and by the numbers of the rows."""


class NamedColumns:
    """Columns beside the standard fields: those of the next state, those packed into a row, and those apart.

    Floats and bootstrap masks are packed; whole numbers and flags lie apart, where they stay exact. So do weights: a
    table that is wider by a column lies differently in memory, and products of matrices then differ in their last bits.
    Where rows come and go all are in one table, weights as well.

    Args:
        names: Of all columns, in the order in which batches have them.
        own: [N, ...] by name, of the rows themselves.
        following: [N, ...] and [E, ...] by name; see `TransitionTable`.
        device: Where columns live that lie apart.
        grows: Whether rows come and go.

    Attributes:
        followed: Of the next state, for the packed table.
        packed: Of the row, for the packed table.
        apart: Names to [N, ...].
    """

    def __init__(
        self,
        names: Sequence[str],
        own: Mapping[str, Array],
        following: Mapping[str, tuple[Array, Array]],
        device: torch.device,
        grows: bool = False,
    ) -> None:
        self.names = names
        self.followed = {name: Column(*following[name]) for name in names if name in following}
        self.packed = {n: Column(own[n]) for n in names if n in own and _is_packed(n, own[n], grows)}
        self.apart = {
            n: torch.from_numpy(exact(own[n])).to(device) for n in names if n in own and n not in self.packed
        }

    def finders(self, followed: int, packed: int, next_actions: Find) -> dict[str, Find]:
        """Returns what finds each column.

        Args:
            followed: Place of the first column of the next state.
            packed: Place of the first packed one of the row.
            next_actions: Finds the next actions.
        """
        finders: dict[str, Find] = {"next_actions": next_actions}
        finders |= {name: _after(followed + i, c.shape) for i, (name, c) in enumerate(self.followed.items())}
        finders |= {name: _now(packed + i, c.shape) for i, (name, c) in enumerate(self.packed.items())}
        finders |= {name: _apart(column) for name, column in self.apart.items()}
        if "masks" in self.packed:
            finders["masks"] = _transposed(packed + list(self.packed).index("masks"))
        return {name: finders.get(name, _absent) for name in self.names}


def _after(place: int, shape: tuple[int, ...]) -> Find:
    return lambda now, after, rows: after[place].view(-1, *shape)


def _now(place: int, shape: tuple[int, ...]) -> Find:
    return lambda now, after, rows: now[place].view(-1, *shape)


def _transposed(place: int) -> Find:
    return lambda now, after, rows: now[place].T


def _apart(column: Tensor) -> Find:
    return lambda now, after, rows: None if rows is None else column.index_select(0, rows)


def _absent(now: Parts, after: Parts, rows: Tensor | None) -> None:
    """Finds nothing: a dataset without bootstrap masks has none."""


def own_columns(
    dataset: MDPDataset, names: Iterable[str], given: Mapping[str, Array], owner: str
) -> dict[str, Array]:
    """Returns columns [N, ...] of a dataset by name; without bootstrap masks if it has none.

    Args:
        dataset: N rows.
        names: Of columns; those that samplers compute are left out, unless they are given, or are the numbers that the
            rows of a part have in the whole.
        given: Columns that stand in place of the dataset's own, or beside them.
        owner: Name of the impl that needs them.

    Raises:
        DatasetError: For a name that the dataset does not have, or a column that is not [N, ...] of numbers.
    """
    known = {**dataset.extras, **given}
    for name in ("masks", "behavior_log_probs"):
        if name not in given and (column := getattr(dataset, name)) is not None:
            known[name] = column
    if NUMBERS in dataset.extras:
        given = {"rows": dataset.extras[NUMBERS], **given}
        known["rows"] = given["rows"]
    wanted = [name for name in names if name in given or name not in COMPUTED]
    for name in wanted:
        if name in known:
            _check(name, known[name], len(dataset))
        elif name != "masks":
            raise _lacking(name, [*known, *COMPUTED], owner or "the impl")
    return {name: known[name] for name in wanted if name in known}


def with_extras(dataset: MDPDataset, columns: Mapping[str, Array]) -> MDPDataset:
    """Returns a copy of a dataset with further columns [N, ...] among its extras, which parts of it keep."""
    joined = copy.copy(dataset)
    joined.extras = {**dataset.extras, **columns}
    return joined


def numbered(dataset: MDPDataset) -> MDPDataset:
    """Returns a dataset whose parts keep the numbers that their rows have in it, or in what it is a part of itself."""
    return dataset if NUMBERS in dataset.extras else with_extras(dataset, {NUMBERS: np.arange(len(dataset))})


def _lacking(name: str, known: Iterable[str], owner: str) -> DatasetError:
    return DatasetError(
        f"{owner} needs a column {name!r}, which this dataset does not have{did_you_mean(name, known)}; give "
        f"MDPDataset(..., extras={{{name!r}: array}}) with one entry a row, or take it out of `needs` of {owner}"
    )


def _check(name: str, column: Array, n_rows: int) -> None:
    """Checks that a column can be one of a batch."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        legal = re.sub(r"\W", "_", name).strip("_") + "_" * keyword.iskeyword(name)
        raise DatasetError(
            f"a batch has its columns as attributes, so {name!r} cannot name one; call this extra {legal!r}, say"
        )
    if column.dtype.kind not in "fiub":
        raise DatasetError(f"column {name!r} must hold numbers, got {column.dtype}; encode it as numbers")
    if column.shape[:1] != (n_rows,):
        raise DatasetError(
            f"column {name!r} must have one entry for each of the {n_rows} rows, got shape {list(column.shape)}"
        )
    if _is_float(column):
        refuse_first(not_finite(column, name))


def _is_packed(name: str, column: Array, grows: bool) -> bool:
    return name == "masks" or ((grows or name != "weights") and _is_float(column))


def _is_float(column: Array) -> bool:
    return column.dtype.kind == "f"


def exact(column: Array) -> Array:
    """Returns flags as they are, whole numbers as int64, and other numbers as float32."""
    return np.array(column, {"b": np.bool_, "f": np.float32}.get(column.dtype.kind, np.int64))

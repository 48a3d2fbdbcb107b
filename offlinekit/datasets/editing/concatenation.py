"""Datasets one after another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.formats.mapping import joined
from offlinekit.errors import DatasetError, DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array, leaves, map_tree

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset


def concatenate(datasets: Sequence[MDPDataset]) -> MDPDataset:
    """Returns one MDPDataset of the episodes of all, in order.

    Name and metadata are the first one's. Of the extras those stay that all have with rows of one shape, numbers in the
    dtype that holds all of theirs.

    Raises:
        DatasetError: If spaces, schemas or mask sizes differ.
    """
    for other in datasets[1:]:
        check_joinable(datasets[0], other)
    joined = copy.copy(datasets[0])
    for column in schema.COLUMNS:
        if column.is_kept:
            setattr(joined, column.name, _joined(datasets, column))
    joined.episode_ends = np.cumsum(join([part.episode_lengths() for part in datasets]))
    joined.episode_starts = np.concatenate([np.zeros(1, np.int64), joined.episode_ends[:-1]])
    return joined


def _joined(datasets: Sequence[MDPDataset], column: schema.Column) -> Any:
    """Returns a column of all; None if one lacks it, next observations if none has them."""
    parts = [getattr(part, column.name) for part in datasets]
    if column.name == "next_observations" and any(part is not None for part in parts):
        return join([part.next_observations_at(np.arange(len(part))) for part in datasets])
    if column.kind == "named":
        return _shared_extras(parts)
    return None if any(part is None for part in parts) else join(parts, column.name)


def join(trees: Sequence[Any], field: str = "columns") -> Any:
    """Returns trees of [N_i, ...] as one of [sum N_i, ...].

    Raises:
        DatasetError: If the rows differ in shape; names the field.
    """
    try:
        return map_tree(lambda *parts: joined(parts), trees[0], *trees[1:])
    except ValueError as error:
        shapes = sorted({str(list(leaf.shape[1:])) for tree in trees for leaf in leaves(tree)})
        raise DatasetError(
            f"{field} must have rows of one shape in every part, got {' and '.join(shapes[:4])}; read the parts apart"
        ) from error


def _shared_extras(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Returns the columns that all have as rows of one shape, of numbers or of bytes."""
    return {name: joined([part[name] for part in parts]) for name in parts[0] if _is_shared(name, parts)}


def _is_shared(name: str, parts: Sequence[dict[str, Array]]) -> bool:
    columns = [part[name] for part in parts if name in part]
    kinds = {(column.dtype.kind == "S", column.shape[1:]) for column in columns}
    return len(columns) == len(parts) and len(kinds) == 1


def warn_of_lost_extras(datasets: Sequence[MDPDataset]) -> None:
    """Warns of extras that `concatenate` leaves out; what joins data of a user's is called by the user itself."""
    for field in schema.names(kind="named"):
        parts = [getattr(part, field) for part in datasets]
        lost = [name for name in dict.fromkeys(chain(*parts)) if not _is_shared(name, parts)]
        if lost:
            warn_caller(
                f"{field} {', '.join(map(repr, lost))} are left out, which not every part has as rows of one shape and "
                "kind; give them to all, or leave them out before joining",
                DatasetWarning,
            )


def check_joinable(first: MDPDataset, other: MDPDataset) -> None:
    """Raises DatasetError unless two datasets have equal spaces and mask sizes."""
    for field in ("observation_space", "action_space"):
        left, right = getattr(first, field), getattr(other, field)
        if left != right:
            raise DatasetError(
                f"datasets joined need one {field}, got {left} and {right}; declare {field}= for both"
            )
    if first.schema is not None and other.schema is not None:
        for difference in first.schema.differences(other.schema):
            raise DatasetError(
                f"datasets joined need one schema of their tables, got {difference}; read the second by that of the "
                "first: get_dataset(path, schema=first.schema)"
            )
    left, right = (None if part.masks is None else part.masks.shape[1] for part in (first, other))
    if left != right:
        raise DatasetError(
            f"datasets joined need one mask size, got {left} and {right}; build both with the same"
        )

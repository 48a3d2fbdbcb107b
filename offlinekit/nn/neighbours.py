"""The search for the row of a dataset that is nearest to an observation and an action."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.neighbors import KDTree

NUMBERS = itertools.count(1)
INDEXES: WeakValueDictionary[int, Neighbours] = WeakValueDictionary()
"""Tables that the operator `offlinekit::nearest` searches, by number."""

ROWS_AT_ONCE = 1 << 17
"""Rows of the dataset whose distances a GPU has in memory at a time."""


class Neighbours:
    """The N rows of a dataset, by the Euclidean distance of (weight * s, a): a KD-tree on the CPU, all rows on a GPU.

    Args:
        observations: [N, O], scaled.
        actions: [N, A], scaled.
        weight: Of the observations.
    """

    def __init__(self, observations: Tensor, actions: Tensor, weight: float) -> None:
        register_search()
        self.actions, self.weight = actions, weight
        self.rows = self._joined(observations, actions)
        self.tree = make_tree(self.rows) if self.rows.device.type == "cpu" else None
        self.number = next(NUMBERS)
        INDEXES[self.number] = self

    def nearest_actions(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Returns the action [B, A] of the row nearest to each observation [B, O] and action [B, A]."""
        queries = self._joined(observations, actions.detach())
        nearest: Tensor = torch.ops.offlinekit.nearest(queries, self.number)
        return self.actions.index_select(0, nearest)

    def search(self, queries: Tensor) -> Tensor:
        """Returns the numbers of the rows nearest to queries, int64 [B]."""
        if self.tree is None:
            return nearest_rows(queries, self.rows)
        indices = self.tree.query(queries.numpy(), k=1, return_distance=False)
        return torch.from_numpy(indices[:, 0])

    def _joined(self, observations: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([self.weight * observations, actions], -1)


def make_tree(rows: Tensor) -> KDTree:
    """Returns scikit-learn's KD-tree of rows [N, D]."""
    from sklearn.neighbors import KDTree  # Here, since the import takes long.

    return KDTree(rows.numpy())


def nearest_rows(queries: Tensor, rows: Tensor, at_once: int = ROWS_AT_ONCE) -> Tensor:
    """Returns the number of the row [N, D] nearest to each query [B, D], int64 [B], by looking at all of them."""
    best = torch.full_like(queries[:, 0], torch.inf)
    nearest = torch.zeros_like(best, dtype=torch.int64)
    for begin in range(0, len(rows), at_once):
        some = rows[begin : begin + at_once]
        distances = some.square().sum(-1) - 2.0 * queries @ some.T  # Less |query|^2, the same for all rows.
        values, places = distances.min(1)
        nearest = torch.where(values < best, places + begin, nearest)
        best = torch.minimum(best, values)
    return nearest


@functools.cache
def register_search() -> None:
    """Registers the operator offlinekit::nearest, so that recorded and compiled losses search anew each time."""

    @torch.library.custom_op("offlinekit::nearest", mutates_args=())
    def nearest(queries: Tensor, number: int) -> Tensor:
        return INDEXES[number].search(queries)

    @nearest.register_fake
    def shaped(queries: Tensor, number: int) -> Tensor:
        return queries.new_empty(len(queries), dtype=torch.int64)

"""Losses row by row, and the one place where rows become a number.

Shapes: B rows of a batch, K members of an ensemble, whose losses are summed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from offlinekit.sampling.batch import Minibatch, TrajectoryBatch

SMALLEST = torch.finfo(torch.float32).tiny
"""Least sum of row weights; those of a member that learns from no row stay 0."""


@dataclass(frozen=True)
class Rows:
    """A loss that is not reduced yet, with what plain rows [B] or [K, B] cannot say.

    Sums, differences and multiples of rows are rows. A tensor of the shape of `values` [K, B] that is added is added to
    them, and counts by their weights; a scalar or [B] counts once, not once a member.

    Attributes:
        values: [B] or [K, B]; None for a loss that is reduced, and weighted, already: then all of it is `extra`.
        weights: [B] or [K, B], at least 0: how much each row counts in the mean of its member, such as bootstrap
            masks or the numbers of steps in windows; divided by their sum over the batch. None for equally.
        extra: Added once, after the members are summed: a scalar as it is, [B] as a mean over rows.
    """

    values: Tensor | None = None
    weights: Tensor | None = None
    extra: Tensor | float = 0.0

    def __add__(self, other: RowLoss) -> Rows:
        """Adds rows of the same weights, a tensor [K, B] for as many members, a scalar or [B].

        Raises:
            ValueError: For rows of other weights, or a tensor of another shape.
        """
        if isinstance(other, Tensor) and other.ndim > 1:
            return self + Rows(self._of_members(other), self.weights)
        if not isinstance(other, Rows):
            return replace(self, extra=_sum(self.extra, other))
        if other.weights is not self.weights:
            raise ValueError("rows of different weights have no common mean; give both the same weights")
        terms = [values for values in (self.values, other.values) if values is not None]
        values = sum(terms[1:], terms[0]) if terms else None
        return Rows(values, self.weights, _sum(self.extra, other.extra))

    __radd__ = __add__

    def __mul__(self, factor: Tensor | float) -> Rows:
        """Multiplies all by a number or a 0-d tensor."""
        values = None if self.values is None else self.values * factor
        return replace(self, values=values, extra=self.extra * factor if _counts(self.extra) else 0.0)

    __rmul__ = __mul__

    def __sub__(self, other: RowLoss) -> Rows:
        difference: Rows = self + -1.0 * other
        return difference

    def __rsub__(self, other: RowLoss) -> Rows:
        difference: Rows = -1.0 * self + other
        return difference

    def _of_members(self, added: Tensor) -> Tensor:
        """Returns a tensor of two axes or more if it has a number for each of the values."""
        if self.values is not None and self.values.shape == added.shape:
            return added
        own = "a scalar" if self.values is None else f"rows of shape {list(self.values.shape)}"
        raise ValueError(
            f"a tensor of shape {list(added.shape)} cannot be added to {own}; add one of the same shape, [B] or a "
            "scalar: take the mean over other axes, and .sum(0) over members"
        )

    def detach(self) -> Rows:
        """Returns the same numbers without gradient."""
        values = None if self.values is None else self.values.detach()
        extra = self.extra.detach() if isinstance(self.extra, Tensor) else self.extra
        return replace(self, values=values, extra=extra)


RowLoss: TypeAlias = Tensor | Rows
"""Rows [B] or [K, B], plain or as `Rows`; or a scalar, which cannot be weighted."""


def bootstrapped(losses: Tensor, masks: Tensor | None) -> Rows:
    """Returns losses [K, B] as rows from which each member learns as its mask says.

    Source: Osband et al. 2016, arXiv:1602.04621, section 3.

    Args:
        losses: One for each member and row.
        masks: [K, B], 1 where the member learns from the row; None for everywhere.

    Raises:
        ValueError: If the masks are for another number of members.
    """
    if masks is not None and masks.shape != losses.shape:
        raise ValueError(
            f"masks must have a row for each of {len(losses)} critics, got {len(masks)}; "
            "make the dataset's mask_size equal to n_critics"
        )
    return Rows(losses, masks)


def window_rows(values: Tensor, masks: Tensor) -> Rows:
    """Returns losses of steps as rows [..., B]: the mean over the steps of each window, which counts for so many.

    Args:
        values: [..., B, K], of windows of K steps.
        masks: [B, K] bool, True at steps, False at padding.
    """
    counts = masks.sum(-1, dtype=values.dtype)
    return Rows(torch.where(masks, values, 0.0).sum(-1) / counts.clamp(min=1.0), counts)


def learned_steps(batch: TrajectoryBatch) -> Tensor:
    """Returns the steps of windows that losses are taken of, bool [B, K]: no padding, and no row of loss weight 0."""
    return batch.valid & batch.learned_steps if "learned_steps" in batch._fields else batch.valid


def reduce_rows(loss: RowLoss, weights: Tensor | None = None) -> Tensor:
    """Returns the sum over members of the mean over rows, 0-d, plus what is extra; scalars as they are.

    Args:
        loss: Rows, or a scalar.
        weights: [B], the loss weight of each row, of mean 1 over the dataset; None for 1.
    """
    rows = loss if isinstance(loss, Rows) else Rows(loss)
    parts = []
    if rows.values is not None:
        mean = mean_of_rows(rows, weights)
        parts.append(mean.sum() if mean.ndim else mean)
    if _counts(rows.extra):
        extra = rows.extra if isinstance(rows.extra, Tensor) else torch.tensor(rows.extra, device="cpu")
        parts.append(mean_of_rows(extra, weights))
    return sum(parts[1:], parts[0])


def mean_of_rows(rows: RowLoss, weights: Tensor | None = None) -> Tensor:
    """Returns the mean over rows of values times loss weights: [B] -> [], [K, B] -> [K], a scalar as it is.

    Args:
        rows: Values, with weights of their own if they are `Rows`.
        weights: [B], as for `reduce_rows`.
    """
    values, counts = (rows.values, rows.weights) if isinstance(rows, Rows) else (rows, None)
    assert values is not None  # For the type checker.
    if not values.ndim:
        return values
    if weights is not None:
        values = values * weights
    return values.mean(-1) if counts is None else (_shares(counts) * values).sum(-1)


def mean_of_metric(metric: RowLoss, n_rows: int, weights: Tensor | None = None) -> Tensor:
    """Returns the mean over all numbers of a metric, 0-d and without gradient; `Rows` are reduced as a loss is.

    Args:
        metric: Of any shape and dtype.
        n_rows: B; the axis of this size is weighted.
        weights: [B], as for `reduce_rows`.

    Raises:
        ValueError: With weights, if several axes have the size of the batch.
    """
    if isinstance(metric, Rows):
        return reduce_rows(metric.detach(), weights)
    values = metric.detach()
    values = values if values.is_floating_point() else values.to(torch.float32)
    axes = [axis for axis, size in enumerate(values.shape) if size == n_rows]
    if weights is not None and len(axes) > 1:
        raise ValueError(f"has {len(axes)} axes of {n_rows}, the rows of the batch: {list(values.shape)}")
    if weights is not None and axes:
        values = values.movedim(axes[0], -1) * weights
    return values.mean() if values.ndim else values


def mean_weights(rows: Rows, weights: Tensor | None = None) -> Tensor:
    """Returns by what each value is multiplied in the mean of its member, for a loss that is summed in blocks."""
    assert rows.values is not None  # For the type checker.
    shares = _shares(torch.ones_like(rows.values) if rows.weights is None else rows.weights)
    return shares if weights is None else shares * weights


def row_weights(batch: Minibatch) -> Tensor | None:
    """Returns the loss weights [B] that a batch carries, of mean 1 over the dataset; None for 1."""
    weights: Tensor | None = batch.weights if "weights" in batch._fields else None
    return weights


def _shares(counts: Tensor) -> Tensor:
    """Returns counts [..., B] divided by their sum over rows; zeros where all are 0."""
    return counts / counts.sum(-1, keepdim=True).clamp(min=SMALLEST)


def _counts(extra: Tensor | float) -> bool:
    return isinstance(extra, Tensor) or extra != 0.0


def _sum(first: Tensor | float | None, second: Tensor | float | None) -> Tensor | float:
    """Returns the sum of two terms, of which those that are nothing cost nothing."""
    given = [term for term in (first, second) if term is not None and _counts(term)]
    return sum(given[1:], given[0]) if given else 0.0

"""Minibatches: trees of tensors, transitions and windows of steps, and the columns that they carry by name."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch

from offlinekit.errors import did_you_mean
from offlinekit.types import Tree, map_tree

Tensor: TypeAlias = torch.Tensor


TensorTree: TypeAlias = "Tree[Tensor]"


Metrics: TypeAlias = dict[str, Tensor]
"""Names to 0-d tensors without gradient; they become floats at the log interval only."""


class Batch(NamedTuple):
    """One minibatch of B transitions, on the training device, already scaled.

    Targets read `batch.rewards + batch.discounts * value_of(batch.next_observations)`. Beside these fields stand the
    columns that the impl lists in `needs`:

    - `next_actions`: as actions, n steps later; zeros where the episode holds none.
    - `returns`: [B], discounted sum of rewards to the end of the episode.
    - `masks`: [K, B], 1 where ensemble member k learns from the row; None if the dataset has no bootstrap masks.
    - `behavior_log_probs`: [B], log-probabilities of the actions under the policy that was recorded.
    - `rows`: int64 [B], the numbers of the rows.
    - `imagined`: [B], 1 where a model made the row, 0 where it was recorded or played.
    - `next_known`: [B], 1 where the next observation was recorded, 0 behind an end that was recorded without it.
    - any of the dataset's `extras`: float32, int64 or bool [B, ...], as recorded.
    """

    observations: TensorTree  # [B, ...]
    actions: Tensor  # [B, A] float, scaled to [-1, 1]; or [B] int64 for discrete actions.
    rewards: Tensor  # [B], discounted sum over the n steps.
    next_observations: TensorTree  # [B, ...], n steps later; of the same episode.
    discounts: Tensor  # [B], gamma ** n, and 0 where the MDP ended within the n steps.

    def __getattr__(self, name: str) -> Tensor:
        raise no_column(self, name)

    def with_columns(self, **columns: Tensor | None) -> Batch:
        """Returns the batch with columns added, or replaced if it has them."""
        return _wider(self, Batch, columns)


class TrajectoryBatch(NamedTuple):
    """B windows of K steps each of one episode, shorter ones padded by zeros on the left.

    Beside these fields stand the columns that the impl lists in `needs`: `extras` of the dataset and
    `behavior_log_probs`, of every step [B, K, ...], and `rows`, int64 [B], the numbers of the rows that were drawn.
    """

    observations: TensorTree  # [B, K, ...].
    actions: Tensor  # [B, K, A] float, scaled to [-1, 1]; or [B, K] int64 for discrete actions.
    rewards: Tensor  # [B, K].
    returns_to_go: Tensor  # [B, K], discounted sum of rewards from the step to the end of its episode.
    terminals: Tensor  # [B, K] bool, whether the MDP ended with the step.
    timesteps: Tensor  # [B, K] int64, steps since the episode began.
    valid: Tensor  # [B, K] bool, True at steps, False at padding.

    def __getattr__(self, name: str) -> Tensor:
        raise no_column(self, name)

    def with_columns(self, **columns: Tensor | None) -> TrajectoryBatch:
        """Returns the windows with columns added, or replaced if they have them."""
        return _wider(self, TrajectoryBatch, columns)


Minibatch: TypeAlias = "Batch | TrajectoryBatch"


B = TypeVar("B", bound=tuple[Any, ...])


@cache
def batch_class(standard: type[tuple[Any, ...]], columns: tuple[str, ...], owner: str = "") -> Any:
    """Returns the class of batches that have named columns beside the standard fields.

    With a class for each set of names a batch stays what recorders, engines and torch.func take apart and put
    together: a flat named tuple.

    Args:
        standard: `Batch` or `TrajectoryBatch`.
        columns: Their names.
        owner: Name of the impl whose `needs` lists them, for the message about one that it does not list.
    """
    fields: Any = namedtuple(standard.__name__, (*standard._fields, *columns))  # type: ignore[attr-defined,misc]  # Its names.

    def reduce(batch: tuple[object, ...]) -> tuple[object, ...]:  # Its class has a name that no module has.
        return _assembled, (standard, columns, owner, tuple(batch))

    return type(
        standard.__name__, (fields, standard), {"__slots__": (), "owner": owner, "__reduce__": reduce}
    )


def _assembled(
    standard: type[tuple[Any, ...]], columns: tuple[str, ...], owner: str, values: tuple[Any, ...]
) -> object:
    """Returns the batch that was pickled or copied."""
    return batch_class(standard, columns, owner)(*values)


def with_axes(batch: B, shape: Sequence[int]) -> B:
    """Returns a batch of M * B rows as one of [M, B, ...]; `masks` [K, M * B] become [M, K, B]."""

    def split(leaf: Tensor | None) -> Tensor | None:
        return None if leaf is None else leaf.view(*shape, *leaf.shape[1:])

    fields = dict(zip(batch._fields, batch, strict=True))  # type: ignore[attr-defined]  # A named tuple.
    masks = fields.get("masks") if isinstance(batch, Batch) else None
    parts = {name: map_tree(split, field) for name, field in fields.items() if field is not masks}
    if masks is not None:
        parts["masks"] = masks.T.view(*shape, -1).movedim(-1, -2)
    return type(batch)(**{name: parts.get(name) for name in fields})


def _wider(batch: B, standard: type[B], columns: dict[str, Tensor | None]) -> B:
    fields: dict[str, Any] = {**batch._asdict(), **columns}  # type: ignore[attr-defined]  # A named tuple.
    names = tuple(name for name in fields if name not in standard._fields)  # type: ignore[attr-defined]
    wider: B = batch_class(standard, names, owner_of(batch))(**fields)
    return wider


def owner_of(batch: object) -> str:
    """Returns the name of the impl whose `needs` lists the columns of a batch; "" if none does."""
    owner: str = vars(type(batch)).get("owner", "")
    return owner


def no_column(batch: Minibatch, name: str) -> AttributeError:
    """Returns the error for a column that a batch does not have."""
    owner, fields = owner_of(batch) or "the impl", type(batch)._fields
    return AttributeError(
        f"this batch has no column {name!r}: {owner} does not need {name!r}; add it to `needs` of {owner}, or use "
        f"one that is there: {', '.join(fields)}{did_you_mean(name, fields)}"
    )

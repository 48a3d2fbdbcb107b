"""The types every room shares: trees of arrays, batches and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

Array: TypeAlias = npt.NDArray[Any]
Tensor: TypeAlias = torch.Tensor
ArrayTree: TypeAlias = "Array | dict[str, ArrayTree] | tuple[ArrayTree, ...]"
TensorTree: TypeAlias = "Tensor | dict[str, TensorTree] | tuple[TensorTree, ...]"
Metrics: TypeAlias = dict[str, Tensor]
"""Names to 0-d tensors without gradient; they become floats at the log interval only."""


class Batch(NamedTuple):
    """One minibatch of B transitions, on the training device, already scaled.

    Targets read `batch.rewards + batch.discounts * value_of(batch.next_observations)`.
    """

    observations: TensorTree  # [B, ...]
    actions: Tensor  # [B, A] float, scaled to [-1, 1]; or [B] int64 for discrete actions.
    rewards: Tensor  # [B], discounted sum over the n steps.
    next_observations: TensorTree  # [B, ...], n steps later; of the same episode.
    next_actions: Tensor  # As actions, n steps later; zeros where the episode holds none. FQE: see its impl.
    discounts: Tensor  # [B], gamma ** n, and 0 where the MDP ended within the n steps.
    returns: Tensor  # [B], discounted sum of rewards to the end of the episode.
    masks: Tensor | None = None  # [K, B], 1 where ensemble member k may learn from the row.


class TrajectoryBatch(NamedTuple):
    """B windows of K steps each of one episode, shorter ones padded by zeros on the left."""

    observations: TensorTree  # [B, K, ...].
    actions: Tensor  # [B, K, A] float, scaled to [-1, 1]; or [B, K] int64 for discrete actions.
    rewards: Tensor  # [B, K].
    returns_to_go: Tensor  # [B, K], discounted sum of rewards from the step to the end of its episode.
    terminals: Tensor  # [B, K] bool, whether the MDP ended with the step.
    timesteps: Tensor  # [B, K] int64, steps since the episode began.
    masks: Tensor  # [B, K] bool, True at steps, False at padding.


def map_tree(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Applies a function to each leaf of a tree of dicts and tuples, beside the same leaf of others."""
    if isinstance(tree, dict):
        return {key: map_tree(function, tree[key], *(o[key] for o in others)) for key in tree}
    if isinstance(tree, tuple):
        return tuple(map_tree(function, *branches) for branches in zip(tree, *others, strict=True))
    return function(tree, *others)


def leaves(tree: Any) -> list[Any]:
    """Returns the leaves of a tree of dicts and tuples, dicts in the order of their keys."""
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key])]
    if isinstance(tree, tuple):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def first_leaf(tree: Any) -> Any:
    """Returns the first leaf of a tree: enough to ask for its length or device."""
    return leaves(tree)[0]


def rows(tree: Any, index: Any) -> Any:
    """Returns tree[index] leaf by leaf."""
    return map_tree(lambda leaf: leaf[index], tree)


def row_parts(index: Array, size: int) -> list[Array]:
    """Splits the numbers of rows [N] into parts of `size`, the last one what is left; of no rows one empty part."""
    return np.split(index, range(size, len(index), size))


def stack_trees(trees: list[Any]) -> Any:
    """Stacks equal trees of arrays along a new first axis."""
    return map_tree(lambda *parts: np.stack(parts), trees[0], *trees[1:])

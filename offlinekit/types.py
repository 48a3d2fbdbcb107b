"""The types every room shares: trees of arrays, batches and metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, overload

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
T = TypeVar("T")

Tree: TypeAlias = "T | dict[str, Tree[T]] | tuple[Tree[T], ...]"
"""One leaf, or dicts and tuples of trees."""
ArrayTree: TypeAlias = "Tree[Array]"
ArrayTreeLike: TypeAlias = "npt.ArrayLike | Mapping[str, ArrayTreeLike] | tuple[ArrayTreeLike, ...]"
"""A tree whose leaves `np.asarray` makes arrays of."""
RowsLike: TypeAlias = "ArrayTreeLike | Sequence[Mapping[str, object]]"
"""Observations, or rows of a table, for a policy that has a schema of it: a DataFrame, dicts, or columns by name."""
Json: TypeAlias = "str | float | bool | list[Json] | dict[str, Json] | None"


@overload
def map_tree(function: Callable[..., T], tree: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]: ...


@overload
def map_tree(
    function: Callable[..., T], tree: tuple[Any, ...], *others: tuple[Any, ...]
) -> tuple[Any, ...]: ...


@overload
def map_tree(function: Callable[..., T], tree: Tree[Any], *others: Tree[Any]) -> Tree[T]: ...


def map_tree(function: Callable[..., T], tree: Any, *others: Any) -> Tree[T]:
    """Applies a function to each leaf of a tree of dicts and tuples, beside the same leaf of others."""
    if isinstance(tree, dict):
        return {key: map_tree(function, tree[key], *(o[key] for o in others)) for key in tree}
    if isinstance(tree, tuple):
        return tuple(map_tree(function, *branches) for branches in zip(tree, *others, strict=True))
    return function(tree, *others)


def leaves(tree: Tree[T]) -> list[T]:
    """Returns the leaves of a tree of dicts and tuples, dicts in the order of their keys."""
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key])]
    if isinstance(tree, tuple):
        return [leaf for branch in tree for leaf in leaves(branch)]
    return [tree]


def first_leaf(tree: Tree[T]) -> T:
    """Returns the first leaf of a tree, which has the length and device of all."""
    return leaves(tree)[0]


def rows(tree: Tree[T], index: Any) -> Tree[T]:
    """Returns tree[index] leaf by leaf."""
    return map_tree(lambda leaf: leaf[index], tree)


def row_parts(index: Array, size: int) -> list[Array]:
    """Splits the numbers of rows [N] into parts of `size`, the last one what is left; of no rows one empty part."""
    return np.split(index, range(size, len(index), size))


def stack_trees(trees: Sequence[ArrayTree]) -> ArrayTree:
    """Stacks equal trees of arrays along a new first axis."""
    if len(trees) == 1:  # Quicker, and what a policy with one environment waits for in each step.
        return map_tree(lambda leaf: np.array(leaf)[None], trees[0])
    return map_tree(lambda *parts: np.stack(parts), trees[0], *trees[1:])

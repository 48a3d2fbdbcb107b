"""The types every room shares: trees of arrays, batches and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
ArrayTree: TypeAlias = "Array | dict[str, ArrayTree] | tuple[ArrayTree, ...]"


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

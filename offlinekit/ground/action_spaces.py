"""Action spaces of users, and how a dataset holds actions of them: as one number a row, or as one vector of floats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.errors import UnsupportedError
from offlinekit.ground.box_actions import box_actions
from offlinekit.types import Array, ArrayTree, map_tree

Space = spaces.Space[Any]
MOST_JOINT = 4_096
"""Joint choices of several discrete actions that networks have an output for each of; beyond, for each of a part."""
MOST_CHOICES = 1 << 62
"""Joint choices that a number of 64 bits can name."""


class JointDiscrete(spaces.Discrete):
    """Several discrete actions as one number from 0, the last of them running fastest.

    Args:
        sizes: The number of choices of each part.
        starts: The first choice of each; none for 0.
    """

    def __init__(self, sizes: Sequence[int], starts: Sequence[int] = ()) -> None:
        self.sizes = tuple(int(size) for size in sizes)
        self.starts = tuple(int(start) for start in starts) or (0,) * len(self.sizes)
        super().__init__(math.prod(self.sizes))

    @classmethod
    def of(cls, space: Space) -> JointDiscrete | None:
        """Returns the joint choices of a MultiDiscrete or MultiBinary, or of a Tuple or Dict of discrete spaces.

        Raises:
            UnsupportedError: For more than `MOST_CHOICES` of them.
        """
        if isinstance(space, JointDiscrete):
            return space
        parts = list(action_leaves(space))
        if isinstance(space, spaces.Discrete) or not parts or not all(map(_is_discrete, parts)):
            return None
        choices = [pair for part in parts for pair in _choices(part)]
        sizes, starts = [size for size, _ in choices], [start for _, start in choices]
        if math.prod(sizes) > MOST_CHOICES:
            raise UnsupportedError(
                f"action_space {space} has {math.prod(sizes):.3g} joint choices, more than the {MOST_CHOICES:.3g} that "
                "a number can name; leave out parts that never change, or declare a Box and a continuous algorithm"
            )
        return cls(sizes, starts)

    @property
    def is_factored(self) -> bool:
        """Whether networks have an output for each choice of each part, since joint choices are too many."""
        return int(self.n) > MOST_JOINT

    def outside(self, actions: Array) -> Array:
        """Returns which actions [..., k] are none of this space, bool [...]."""
        low = np.array(self.starts)
        return np.asarray(((actions < low) | (actions >= low + self.sizes)).any(-1))

    def join(self, actions: Array) -> Array:
        """Returns the numbers [...] of actions [..., k]."""
        parts = np.moveaxis(actions - np.array(self.starts), -1, 0)
        joint: Array = np.ravel_multi_index(tuple(parts), self.sizes)
        return joint

    def split(self, numbers: Array) -> Array:
        """Returns the actions [..., k], int64, of numbers [...]."""
        parts = np.stack(np.unravel_index(numbers, self.sizes), -1).astype(np.int64)
        return parts + np.array(self.starts) if any(self.starts) else parts

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JointDiscrete) and (self.sizes, self.starts) == (other.sizes, other.starts)

    def __hash__(self) -> int:
        return hash((self.sizes, self.starts))

    def __repr__(self) -> str:
        return (
            f"MultiDiscrete({list(self.sizes)}{f', start={list(self.starts)}' if any(self.starts) else ''})"
        )


# How a dataset holds an action space.


def held_space(space: Space) -> Space:
    """Returns the space in which a dataset holds the actions of a user's.

    A Discrete and a Box of vectors are held as they are, several discrete actions as a `JointDiscrete`, and several
    Boxes, or one of another shape, as one Box of all their numbers side by side.

    Raises:
        UnsupportedError: For discrete actions beside continuous ones, and for spaces of another kind.
    """
    if isinstance(space, spaces.Discrete) or (isinstance(space, spaces.Box) and len(space.shape) == 1):
        return space
    joint = JointDiscrete.of(space)
    if joint is not None:
        return joint
    boxes = [part for part in action_leaves(space) if isinstance(part, spaces.Box)]
    if not boxes or len(boxes) < sum(1 for _ in action_leaves(space)):
        raise UnsupportedError(
            "action_space must be all discrete (Discrete, MultiDiscrete, MultiBinary) or all continuous (Box), alone "
            f"or in a Tuple or Dict, got {space}; leave one kind out, or number intervals of the continuous actions"
        )
    low, high = (np.concatenate([getattr(box, end).ravel() for box in boxes]) for end in ("low", "high"))
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def action_leaves(space: Space) -> Iterator[Space]:
    """Yields the spaces that a Tuple or Dict is made of, in its order; another space itself."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from action_leaves(part)
    else:
        yield space


def flat_actions(actions: object, space: Space) -> Array:
    """Returns n actions of a space, each in the user's numbers as a row: [n] of a Discrete, else [n, k].

    Args:
        actions: A tree of [n, ...] as the space has it, or rows that are flat already.
        space: The user's.

    Raises:
        ValueError: For a tree of another structure, or leaves of different numbers of rows.
    """
    if isinstance(actions, Mapping) or (isinstance(actions, tuple) and isinstance(space, spaces.Tuple)):
        parts = list(_rows(actions, space))
        if len({len(part) for part in parts}) > 1:
            raise ValueError(
                f"actions must have as many rows in each part, got {[len(part) for part in parts]}"
            )
        return np.concatenate(parts, 1)
    array = np.asarray(actions)
    is_shaped = array.ndim > 0 and array.shape[1:] == space.shape and not isinstance(space, spaces.Discrete)
    return array.reshape(len(array), -1) if is_shaped else array


def action_tree(flat: Array, space: Space) -> ArrayTree:
    """Returns n actions as a space has them, a tree of [n, ...]: the opposite of `flat_actions`."""
    sizes = [math.prod(part.shape or ()) for part in action_leaves(space)]
    parts = iter(np.split(flat.reshape(len(flat), -1), np.cumsum(sizes)[:-1], 1))
    return _built(parts, space)


def env_action(action: Array, space: Space) -> ArrayTree:
    """Returns what `step` of an environment takes for one action, a number or the flat [k] of its parts."""
    if isinstance(space, spaces.Discrete) or (space.shape is not None and len(space.shape) == 1):
        return action  # As most are, in each step.
    tree: ArrayTree = map_tree(_first_row, action_tree(np.asarray(action)[None], space))
    return tree


def _first_row(leaf: Array) -> Array:
    first: Array = leaf[0]  # Of a Discrete a number, of a Box an array, if of no axis.
    return np.asarray(first) if leaf.dtype.kind == "f" else first


def _built(parts: Iterator[Array], space: Space) -> ArrayTree:
    if isinstance(space, spaces.Dict):
        return {key: _built(parts, part) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_built(parts, part) for part in space.spaces)
    leaf = next(parts)
    shaped = leaf.reshape(len(leaf), *(space.shape or ()))
    return cast_actions(shaped, space) if isinstance(space, spaces.Box) else shaped.astype(space.dtype)


def cast_actions(actions: Array, space: spaces.Box) -> Array:
    """Returns actions in the dtype of a Box; if that has whole numbers, the nearest ones within its bounds."""
    if np.dtype(space.dtype).kind == "f":
        return actions.astype(space.dtype, copy=False)
    if actions.dtype.kind == "f":
        return box_actions(actions, space)
    return np.clip(actions, space.low, space.high).astype(space.dtype, copy=False)


def _rows(actions: object, space: Space) -> Iterator[Array]:
    """Yields the rows [n, k] of each leaf of a tree of actions."""
    if isinstance(space, spaces.Dict):
        if not isinstance(actions, Mapping) or actions.keys() != space.spaces.keys():
            raise ValueError(f"actions must be a dict with keys {sorted(space.spaces)}, got {actions!r:.100}")
        for key, part in space.spaces.items():
            yield from _rows(actions[key], part)
    elif isinstance(space, spaces.Tuple):
        if not isinstance(actions, tuple | list) or len(actions) != len(space.spaces):
            raise ValueError(f"actions must be a tuple of {len(space.spaces)}, got {actions!r:.100}")
        for branch, part in zip(actions, space.spaces, strict=True):
            yield from _rows(branch, part)
    else:
        leaf, size = np.asarray(actions), math.prod(space.shape or ())
        if leaf.ndim == 0 or leaf.size != len(leaf) * size:
            raise ValueError(
                f"actions of {space} must have shape {['N', *(space.shape or ())]}, got {list(leaf.shape)}"
            )
        yield leaf.reshape(len(leaf), size)


def _is_discrete(space: Space) -> bool:
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def _choices(space: Space) -> list[tuple[int, int]]:
    """Returns how many choices each part of a discrete space has, and the first of them."""
    if isinstance(space, spaces.MultiBinary):
        return [(2, 0)] * math.prod(space.shape)
    if isinstance(space, spaces.MultiDiscrete):
        return list(zip(space.nvec.ravel().tolist(), space.start.ravel().tolist(), strict=True))
    assert isinstance(space, spaces.Discrete)
    return [(int(space.n), int(space.start))]


# Numbers of discrete actions.


def numbers_from_0(actions: Array, space: Space) -> Array:
    """Returns actions of a dataset as networks number them: discrete ones from 0, others as they are."""
    start = int(space.start) if isinstance(space, spaces.Discrete) else 0
    return actions - start if start else actions


def from_numbers(numbers: Array, space: Space) -> Array:
    """Returns discrete actions as its user has them of numbers from 0, as networks have them."""
    own = own_actions(numbers, space)
    start = int(space.start) if isinstance(space, spaces.Discrete) else 0
    return own + start if start else own


def own_actions(actions: Array, space: Space) -> Array:
    """Returns actions of a dataset as its user has them: several discrete ones in their parts [..., k]."""
    return space.split(actions) if isinstance(space, JointDiscrete) else actions


def every_action(space: Space) -> Array:
    """Returns all actions of a discrete space as a dataset has them, int64 [n]."""
    assert isinstance(space, spaces.Discrete)  # What is continuous has no list of actions.
    return np.arange(int(space.n)) + int(space.start)


def joined_actions(actions: Array, space: Space) -> Array:
    """Returns actions as a dataset of this space has them: those of several parts, [..., k], as one number each.

    Raises:
        ValueError: For parts outside the space.
    """
    if not isinstance(space, JointDiscrete) or actions.ndim < 2 or actions.dtype.kind not in "iub":
        return actions
    if actions.shape[-1] != len(space.sizes):
        raise ValueError(
            f"actions must have the {len(space.sizes)} parts of {space}, got {actions.shape[-1]}"
        )
    wrong = space.outside(actions)
    if wrong.any():
        raise ValueError(f"actions must lie in {space}, got {actions[wrong][0].tolist()}")
    return space.join(actions)


def part_sizes(space: spaces.Discrete) -> tuple[int, ...]:
    """Returns how many outputs each part of a discrete action has: (n,), or the sizes of parts that are factored."""
    return space.sizes if isinstance(space, JointDiscrete) and space.is_factored else (int(space.n),)


def output_numbers(actions: Array, space: spaces.Discrete) -> Array:
    """Returns which of the outputs of all parts, side by side, are those of actions [...]: [..., D], D = 1 if whole."""
    sizes = part_sizes(space)
    if len(sizes) == 1:
        return numbers_from_0(np.asarray(actions), space)[..., None]
    assert isinstance(space, JointDiscrete)
    return np.asarray(space.split(actions) - np.array(space.starts) + np.cumsum([0, *sizes[:-1]]))


def without_choice(legal: Array, space: spaces.Discrete) -> Array:
    """Returns which rows of legal actions [N, A] have no legal choice in some part, bool [N]."""
    parts = np.split(legal, np.cumsum(part_sizes(space))[:-1], -1)
    return np.asarray(~np.all([part.any(-1) for part in parts], 0))


def one_hot(actions: Array, space: spaces.Discrete) -> Array:
    """Returns 1 for the outputs of actions [N], float32 [N, A], A = the outputs of all parts."""
    chosen = np.zeros((len(actions), sum(part_sizes(space))), np.float32)
    np.put_along_axis(chosen, output_numbers(actions, space), 1.0, -1)
    return chosen


def check_countable(space: Space, what: str) -> None:
    """Checks that each joint choice can have a number of its own.

    Raises:
        UnsupportedError: For factored actions; says what can be done with them.
    """
    if isinstance(space, JointDiscrete) and space.is_factored:
        raise UnsupportedError(
            f"{what} each action apart, and {space} has {int(space.n):,} joint choices, more than {MOST_JOINT:,}; fit "
            "DiscreteFQE(policy=...), whose values are sums over the parts"
        )

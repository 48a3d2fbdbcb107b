"""Spaces of environments: whether a policy means the same actions, and wrappers for spaces that no dataset holds."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.types import Array

Space = spaces.Space[Any]
MOST_JOINT = 4_096
"""Joint choices of several discrete actions that networks have an output for each of; beyond, for each of a part."""
MOST_CHOICES = 1 << 62
"""Joint choices that a number of 64 bits can name."""
FLATTEN = "gymnasium.wrappers.FlattenObservation(env)"
UNFLATTEN = (
    "gymnasium.wrappers.TransformAction(env, lambda action: gymnasium.spaces.unflatten(env.action_space, action), "
    "gymnasium.spaces.flatten_space(env.action_space))"
)


class JointDiscrete(spaces.Discrete):
    """Several discrete actions as one number, the last of them running fastest.

    Args:
        sizes: The number of choices of each.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(int(size) for size in sizes)
        super().__init__(math.prod(self.sizes))

    @classmethod
    def of(cls, space: Space) -> JointDiscrete | None:
        """Returns the joint choices of a MultiDiscrete from 0 or a MultiBinary of one axis; None for other spaces.

        Raises:
            UnsupportedError: For more than `MOST_CHOICES` of them.
        """
        if isinstance(space, JointDiscrete):
            return space
        sizes = _sizes(space)
        if sizes is None:
            return None
        if math.prod(sizes) > MOST_CHOICES:
            raise UnsupportedError(
                f"{space} has {math.prod(sizes):.3g} joint choices, more than the {MOST_CHOICES:.3g} that a number can "
                "name; leave out parts that never change, or declare a Box and a continuous algorithm"
            )
        return cls(sizes)

    @property
    def is_factored(self) -> bool:
        """Whether networks have an output for each choice of each part, since joint choices are too many."""
        return int(self.n) > MOST_JOINT

    def outside(self, actions: Array) -> Array:
        """Returns which actions [..., k] are none of this space, bool [...]."""
        return np.asarray(((actions < 0) | (actions >= np.array(self.sizes))).any(-1))

    def join(self, actions: Array) -> Array:
        """Returns the numbers [...] of actions [..., k]."""
        joint: Array = np.ravel_multi_index(tuple(np.moveaxis(actions, -1, 0)), self.sizes)
        return joint

    def split(self, numbers: Array) -> Array:
        """Returns the actions [..., k], int64, of numbers [...]."""
        return np.stack(np.unravel_index(numbers, self.sizes), -1).astype(np.int64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JointDiscrete) and self.sizes == other.sizes

    def __hash__(self) -> int:
        return hash(self.sizes)

    def __repr__(self) -> str:
        return f"MultiDiscrete({list(self.sizes)})"


def part_sizes(space: spaces.Discrete) -> tuple[int, ...]:
    """Returns how many outputs each part of a discrete action has: (n,), or the sizes of parts that are factored."""
    return space.sizes if isinstance(space, JointDiscrete) and space.is_factored else (int(space.n),)


def output_numbers(actions: Array, space: spaces.Discrete) -> Array:
    """Returns which of the outputs of all parts, side by side, are those of actions [...]: [..., D], D = 1 if whole."""
    sizes = part_sizes(space)
    if len(sizes) == 1:
        return np.asarray(actions)[..., None] - int(space.start)
    assert isinstance(space, JointDiscrete)
    return np.asarray(space.split(actions) + np.cumsum([0, *sizes[:-1]]))


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


def joined_actions(actions: Array, space: Space) -> Array:
    """Returns actions as a dataset of this space has them: those of several parts, [..., k], as one number each."""
    if isinstance(space, JointDiscrete) and actions.ndim == 2 and actions.dtype.kind in "iub":
        return space.join(actions)
    return actions


def _sizes(space: Space) -> list[int] | None:
    """Returns the number of choices of each part of a MultiDiscrete from 0 or a MultiBinary; None for other spaces."""
    if isinstance(space, spaces.MultiBinary) and len(space.shape) == 1:
        return [2] * space.shape[0]
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1 and not space.start.any():
        return [int(size) for size in space.nvec]
    return None


def warn_of_other_range(acts: spaces.Space[Any], env: gymnasium.Env[Any, Any], stacklevel: int = 2) -> None:
    """Warns if an environment takes actions of another range than a policy or its data have.

    Args:
        acts: Space of the policy's actions; one without bounds says nothing of a range.
        env: To act in.
        stacklevel: Of the warning.
    """
    takes = env.action_space
    if not (isinstance(acts, spaces.Box) and isinstance(takes, spaces.Box)) or acts.shape != takes.shape:
        return
    if acts.is_bounded() and takes.is_bounded() and not same_range(acts, takes):
        warnings.warn(
            f"the environment takes actions from {_range(takes)}, those of the policy and its data are from "
            f"{_range(acts)}; if they are scaled, wrap it: "
            f"gymnasium.wrappers.RescaleAction(env, {_bound(acts.low)}, {_bound(acts.high)})",
            DatasetWarning,
            stacklevel=stacklevel + 1,
        )


def warn_of_other_pixels(sees: Space, env: gymnasium.Env[Any, Any], stacklevel: int = 2) -> None:
    """Warns if an environment shows images as bytes that a policy or its data have as floats, or the other way round.

    Args:
        sees: Space of the policy's observations.
        env: To act in.
        stacklevel: Of the warning.
    """
    shown = env.observation_space
    if not (isinstance(sees, spaces.Box) and isinstance(shown, spaces.Box)) or len(sees.shape) < 2:
        return
    kinds = ["uint8" if space.dtype == np.uint8 else "float" for space in (shown, sees)]
    if kinds[0] != kinds[1]:
        made = (
            "x / 255, gymnasium.spaces.Box(0, 1",
            "numpy.round(x * 255).astype('uint8'), gymnasium.spaces.Box(0, 255",
        )
        function, dtype = (made[0], "'float32'") if kinds[1] == "float" else (made[1], "'uint8'")
        warnings.warn(
            f"the environment shows images of {kinds[0]}, those of the policy and its data are {kinds[1]}; if they are "
            f"scaled otherwise, wrap it: gymnasium.wrappers.TransformObservation(env, lambda x: {function}, "
            f"{sees.shape}, {dtype}))",
            DatasetWarning,
            stacklevel=stacklevel + 1,
        )


def same_range(first: spaces.Box, second: spaces.Box) -> bool:
    """Returns whether two spaces of one shape have the same bounds, rounding aside."""
    return bool(np.allclose(first.low, second.low) and np.allclose(first.high, second.high))


def check_learnable(env: gymnasium.Env[Any, Any], joins: bool = False) -> None:
    """Refuses an environment whose observations or actions no dataset holds.

    Args:
        env: To record or to learn in.
        joins: Whether several discrete actions are joined to one number.

    Raises:
        UnsupportedError: Names the wrapper that helps.
    """
    acts = env.action_space
    is_held = isinstance(acts, spaces.Discrete) or (joins and JointDiscrete.of(acts) is not None)
    remedies = {
        f"observations of {env.observation_space}": observation_remedy(env.observation_space),
        f"actions of {acts}": None if is_held else action_remedy(acts),
    }
    for what, remedy in remedies.items():
        if remedy is not None:
            raise UnsupportedError(f"datasets do not hold {what}; wrap the environment: {remedy}")


def observation_remedy(space: Space) -> str | None:
    """Returns the wrapper that makes vectors of observations, one-hot of numbers; None if they are held as they are."""
    return None if _is_held(space) else FLATTEN


def action_remedy(space: Space) -> str | None:
    """Returns the wrapper that makes vectors, or numbers from 0, of actions; None for those that are these."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return _transformed(f"action + {start}", int(space.n)) if start else None
    if isinstance(space, spaces.MultiBinary):
        return _numbered([2] * math.prod(space.shape))
    if isinstance(space, spaces.MultiDiscrete):
        return _numbered(space.nvec.ravel().tolist(), space.start.ravel().tolist())
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return None
    return UNFLATTEN if _is_continuous(space) else "gymnasium.ActionWrapper, which makes them of one number"


def _is_continuous(space: Space) -> bool:
    """Returns whether a space is made of numbers alone, which a vector can hold side by side."""
    if isinstance(space, spaces.Dict):
        return all(map(_is_continuous, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return all(map(_is_continuous, space.spaces))
    return isinstance(space, spaces.Box)


def _is_held(space: Space) -> bool:
    if isinstance(space, spaces.Dict):
        return bool(space.spaces) and all(map(_is_held, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return bool(space.spaces) and all(map(_is_held, space.spaces))
    return isinstance(space, spaces.Box) and len(space.shape) > 0


def _numbered(sizes: list[int], starts: Sequence[int] = ()) -> str:
    parts = f"numpy.array(numpy.unravel_index(action, {tuple(sizes)}))"
    return _transformed(f"{parts} + {starts}" if any(starts) else parts, math.prod(sizes))


def _transformed(expression: str, n: int) -> str:
    return f"gymnasium.wrappers.TransformAction(env, lambda action: {expression}, gymnasium.spaces.Discrete({n}))"


def _range(space: spaces.Box) -> str:
    return f"{_bound(space.low)} to {_bound(space.high)}"


def _bound(bound: Array) -> str:
    """Returns a bound, as one number if it has only one."""
    return f"{bound.flat[0]:g}" if np.all(bound == bound.flat[0]) else str(bound.tolist())

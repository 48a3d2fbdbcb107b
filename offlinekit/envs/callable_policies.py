"""Policies: anything that turns a batch of observations into a batch of actions."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium
import numpy as np

from offlinekit.envs.legal_actions import draw_legal, legal_of
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import (
    JointDiscrete,
    action_tree,
    cast_actions,
    flat_actions,
    held_space,
    joined_actions,
    output_numbers,
    own_actions,
    part_sizes,
)
from offlinekit.types import Array, ArrayTree, first_leaf, stack_trees

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.interfaces import PolicyLike

Act: TypeAlias = "Callable[[Any], ArrayLike]"
"""Observations [B, ...] (a tree for dict and tuple spaces) to actions [B] or [B, A]."""


class RandomPolicy:
    """Draws actions uniformly from a space, of legal actions if the observations name such.

    Bounded boxes are drawn uniformly, unbounded dimensions from gymnasium's choice (normal or exponential).

    Args:
        action_space: Of the environment or the dataset.
        seed: Equal seeds give equal actions; no other generator is touched.
    """

    def __init__(self, action_space: gymnasium.Space[Any], seed: int = 0) -> None:
        self._space = copy.deepcopy(action_space)
        self.seed(seed)

    def seed(self, seed: int) -> None:
        """Seeds the random numbers."""
        self._space.seed(seed)

    def __call__(self, observations: ArrayTree) -> Array:
        """Returns one action [B, ...] for each of the B observations."""
        legal = legal_of(observations)
        if legal is not None:
            drawn = [draw_legal(part, self._space.np_random) for part in self._parts(legal)]
            space = self._discrete()
            if len(drawn) == 1:
                return own_actions(drawn[0] + int(space.start), space)
            assert isinstance(space, JointDiscrete)
            return np.asarray(np.stack(drawn, -1) + np.array(space.starts))
        drawn = [self._space.sample() for _ in range(len(first_leaf(observations)))]
        return own_actions(flat_actions(stack_trees(drawn), self._space), self._space)

    def log_prob(self, observations: ArrayTree, actions: Array) -> Array:
        """Returns the log-probabilities [B] of actions; of a bounded Box log-densities.

        Raises:
            UnsupportedError: For a space that is neither Discrete nor a bounded Box.
        """
        legal = legal_of(observations)
        if legal is not None:
            space = self._discrete()
            taken = np.take_along_axis(legal, output_numbers(joined_actions(actions, space), space), 1)
            n_legal = np.stack([part.sum(1) for part in self._parts(legal)], 1)
            return np.asarray(np.where(taken > 0, -np.log(n_legal), -np.inf).sum(1))
        return np.full(len(actions), -log_volume(self._space))

    def _parts(self, legal: Array) -> list[Array]:
        """Returns the legal actions [B, A] of each part."""
        return np.split(legal, list(itertools.accumulate(part_sizes(self._discrete())))[:-1], 1)

    def _discrete(self) -> gymnasium.spaces.Discrete:
        space = held_space(self._space)
        assert isinstance(space, gymnasium.spaces.Discrete)  # Legal actions are of such.
        return space


class GreedyPolicy:
    """A policy that takes one of finitely many actions for certain, and says so.

    Args:
        predict: Observations [B, ...] to integer actions [B], or [B, k] of k parts, always the same ones.
    """

    def __init__(self, predict: Act) -> None:
        self.predict = predict

    def log_prob(self, observations: ArrayTree, actions: Array) -> Array:
        """Returns the log-probabilities [B] of actions: 0 for the one it takes, else minus infinity."""
        is_taken = np.asarray(actions == np.asarray(self.predict(observations)))
        return np.where(is_taken.reshape(len(is_taken), -1).all(1), 0.0, -np.inf)


def log_volume(space: gymnasium.Space[Any]) -> float:
    """Returns the logarithm of the number of actions, joint ones if they have parts, or of the room of a bounded Box.

    Raises:
        UnsupportedError: For another space.
    """
    held = held_space(space)
    if isinstance(held, gymnasium.spaces.Discrete):
        return float(np.log(held.n))
    if isinstance(held, gymnasium.spaces.Box) and held.is_bounded():
        return float(np.log(held.high.astype(np.float64) - held.low).sum())
    raise UnsupportedError(f"uniform actions need a Discrete or a bounded Box, got {space}")


def as_policy(policy: PolicyLike) -> Act:
    """Returns the function from observations to actions behind an object.

    Args:
        policy: An algorithm, any object with `predict(observations)`, or a callable; all on batches.

    Raises:
        UnsupportedError: For a class instead of an instance, and for an object that is neither.
    """
    if isinstance(policy, type):
        raise UnsupportedError(
            f"expected a policy, got the class {policy.__name__}; make, fit or load an instance first"
        )
    predict = getattr(policy, "predict", None)
    if callable(predict):
        return predict  # type: ignore[no-any-return]  # Its signature is checked by what it returns.
    if callable(policy):
        return policy
    raise UnsupportedError(
        f"expected an object with predict(observations) or a callable observations -> actions, "
        f"got {type(policy).__name__}"
    )


def checked_actions(
    actions: ArrayLike, space: gymnasium.Space[Any], n: int, *, is_cast: bool = True
) -> Array:
    """Returns the actions of n observations as an array, or says what is wrong with them.

    Args:
        actions: What a policy returned.
        space: The environment's action space, as `held_space` takes it; or that of a dataset.
        n: Number of observations.
        is_cast: Whether those of a Box get its dtype.

    Returns:
        Integers [n] for Discrete, and for the space of a dataset of several discrete actions; [n, k] for others of
        several; [n, A] for continuous ones, of the dtype of a single Box, not clipped to their bounds
        but for whole numbers, which are the nearest ones in it.

    Raises:
        ValueError: For another shape, type, a non-finite action or a discrete one that does not exist.
        UnsupportedError: For another action space.
    """
    if isinstance(actions, tuple) and not isinstance(space, gymnasium.spaces.Tuple):
        raise ValueError(
            f"the policy returned a tuple of {len(actions)}; expected an array of actions alone "
            "(for policies that also return a state, pass `lambda o: model.predict(o)[0]`)"
        )
    held, array = held_space(space), flat_actions(actions, space)
    if isinstance(held, JointDiscrete):
        parts = _checked_parts(array, held, n)
        return held.join(parts) if isinstance(space, JointDiscrete) else parts
    if isinstance(held, gymnasium.spaces.Discrete):
        return _checked_discrete(array, held, n)
    assert isinstance(held, gymnasium.spaces.Box)
    _check_box(array, held, n)
    return cast_actions(array, held) if is_cast else array


def played_actions(actions: ArrayLike, space: gymnasium.Space[Any], n: int) -> Array:
    """Returns the actions of n observations as an environment takes them: checked, and within the bounds of a Box.

    Args:
        actions: As for `checked_actions`, which says what it raises.
        space: The environment's action space.
        n: Number of observations.
    """
    checked, held = checked_actions(actions, space, n), held_space(space)
    if not isinstance(held, gymnasium.spaces.Box):
        return checked
    clipped = np.clip(checked, held.low, held.high)
    if held is space:
        return clipped
    taken = flat_actions(action_tree(clipped, space), space)  # With the whole numbers that some part has.
    return taken.astype(held.dtype, copy=False)


def _checked_discrete(actions: Array, space: gymnasium.spaces.Discrete, n: int) -> Array:
    if actions.shape != (n,) or actions.dtype.kind not in "iu":
        raise ValueError(
            f"expected integer actions of shape ({n},) for {space}, one for each observation; the policy "
            f"returned {actions.dtype} of shape {actions.shape}"
        )
    low, high = int(space.start), int(space.start + space.n) - 1
    if actions.min() < low or actions.max() > high:
        wrong = actions[(actions < low) | (actions > high)][0]
        raise ValueError(f"the policy returned action {wrong}; the environment has actions {low} to {high}")
    return actions


def _checked_parts(actions: Array, space: JointDiscrete, n: int) -> Array:
    expected = (n, len(space.sizes))
    if actions.shape != expected or actions.dtype.kind not in "iub":
        raise ValueError(
            f"expected integer actions of shape {expected} for {space}, one row for each observation; the policy "
            f"returned {actions.dtype} of shape {actions.shape}"
        )
    wrong = space.outside(actions)
    if wrong.any():
        raise ValueError(
            f"the policy returned action {actions[wrong][0].tolist()}; the environment has {space}"
        )
    return actions


def _check_box(actions: Array, space: gymnasium.spaces.Box, n: int) -> None:
    expected = (n, *space.shape)
    if actions.shape != expected or actions.dtype.kind not in "fiu":
        raise ValueError(
            f"expected actions of shape {expected} for {space}, one row for each observation; the policy "
            f"returned {actions.dtype} of shape {actions.shape}"
        )
    if not np.isfinite(actions).all():
        raise ValueError(
            f"the policy returned an action that is not finite: {actions[~np.isfinite(actions)][0]}"
        )

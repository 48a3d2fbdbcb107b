"""Spaces of environments: whether a policy means the same actions, and wrappers for spaces that no dataset holds."""

from __future__ import annotations

import math
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.envs.legal_actions import WRAPPER, has_legal_actions
from offlinekit.errors import DatasetError, DatasetWarning, UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete, held_space
from offlinekit.types import Array

Space = spaces.Space[Any]
FLATTEN = "gymnasium.wrappers.FlattenObservation(env)"


def warn_of_other_range(acts: spaces.Space[Any], env: gymnasium.Env[Any, Any], stacklevel: int = 2) -> None:
    """Warns if an environment takes actions of another range than a policy or its data have.

    Args:
        acts: Space of the policy's actions; one without bounds says nothing of a range.
        env: To act in.
        stacklevel: Of the warning.
    """
    takes = _held(env.action_space)
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


def refuse_other_text(sees: Space, env: gymnasium.Env[Any, Any]) -> None:
    """Checks that the tokens of an environment of text are those of a policy or its data.

    Args:
        sees: Space of the policy's observations.
        env: To act in.

    Raises:
        UnsupportedError: For text of another tokenizer.
    """
    ours, theirs = (getattr(space, "tokenizer", None) for space in (sees, env.observation_space))
    if ours is not None and theirs is not None and ours != theirs:
        raise UnsupportedError(
            f"the environment speaks by a {theirs}, the policy and its data by another {ours}; make the environment by "
            "theirs: TextEnv(game, algo.tokenizer)"
        )


def check_environment(
    observation_space: Space,
    action_space: Space,
    env: gymnasium.Env[Any, Any],
    *,
    whose: str = "the dataset",
    option: str = "env_id=",
) -> None:
    """Compares the spaces of a dataset, or of what has learned from one, with those of an environment.

    Args:
        observation_space: Of the dataset.
        action_space: Likewise.
        env: To compare with, which shows what a policy sees: stacks or histories, if it is one of them.
        whose: The spaces are, for the message.
        option: By which the caller named the environment.

    Raises:
        DatasetError: For other ones; of other bounds of actions it warns.
        UnsupportedError: For text of another tokenizer.
    """
    refuse_other_text(observation_space, env)
    warn_of_other_range(action_space, env, stacklevel=3)
    warn_of_other_pixels(observation_space, env, stacklevel=3)
    ours = _signature(observation_space), _signature(held_space(action_space))
    theirs = _signature(env.observation_space), _signature(_held(env.action_space))
    if ours != theirs:
        name = env.spec.id if env.spec else str(env)
        remedies = (observation_remedy(env.observation_space), action_remedy(env.action_space))
        wrapper = next(filter(None, remedies), None)
        fix = f"name another environment by {option}"
        fix += ", or declare the spaces of the dataset" if whose == "the dataset" else ""
        if has_legal_actions(observation_space) and not has_legal_actions(env.observation_space):
            fix = f"wrap it, if its info names legal actions: {WRAPPER}"
        elif wrapper is not None:
            fix = f"if only the numbering or the shape differs, wrap it: {wrapper}"
        raise DatasetError(
            f"environment {name} observes {theirs[0]} and acts {theirs[1]}, but {whose} has "
            f"{ours[0]} and {ours[1]}; {fix}"
        )


def _signature(space: Space) -> str:
    if isinstance(space, spaces.Dict):
        return "{" + ", ".join(f"{key}: {_signature(space[key])}" for key in sorted(space.spaces)) + "}"
    if isinstance(space, spaces.Tuple):
        return "(" + ", ".join(_signature(part) for part in space.spaces) + ")"
    return f"Box{list(space.shape)}" if isinstance(space, spaces.Box) else str(space)


def _held(space: Space) -> Space:
    try:
        return held_space(space)
    except UnsupportedError:  # Whoever acts there says so.
        return space


def same_range(first: spaces.Box, second: spaces.Box) -> bool:
    """Returns whether two spaces of one shape have the same bounds, rounding aside."""
    return bool(np.allclose(first.low, second.low) and np.allclose(first.high, second.high))


def check_learnable(env: gymnasium.Env[Any, Any]) -> None:
    """Refuses an environment whose observations or actions no dataset holds.

    Args:
        env: To record or to learn in.

    Raises:
        UnsupportedError: Names the wrapper that helps.
    """
    held_space(env.action_space)
    remedy = observation_remedy(env.observation_space)
    if remedy is not None:
        raise UnsupportedError(
            f"datasets do not hold observations of {env.observation_space}; wrap the environment: {remedy}"
        )


def observation_remedy(space: Space) -> str | None:
    """Returns the wrapper that makes vectors of observations, one-hot of numbers; None if they are held as they are."""
    return None if _is_held(space) else FLATTEN


def action_remedy(space: Space) -> str | None:
    """Returns the wrapper that makes numbers from 0 of discrete actions; None for those that are these."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return _transformed(f"action + {start}", int(space.n)) if start else None
    if isinstance(space, spaces.MultiBinary | spaces.MultiDiscrete) and len(space.shape) == 1:
        joint = JointDiscrete.of(space)
        return None if joint is None else _numbered(joint.sizes, joint.starts)
    return None


def _is_held(space: Space) -> bool:
    if isinstance(space, spaces.Dict):
        return bool(space.spaces) and all(map(_is_held, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return bool(space.spaces) and all(map(_is_held, space.spaces))
    return isinstance(space, spaces.Box) and len(space.shape) > 0


def _numbered(sizes: tuple[int, ...], starts: tuple[int, ...]) -> str:
    parts = f"numpy.array(numpy.unravel_index(action, {sizes}))"
    return _transformed(f"{parts} + {list(starts)}" if any(starts) else parts, math.prod(sizes))


def _transformed(expression: str, n: int) -> str:
    return f"gymnasium.wrappers.TransformAction(env, lambda action: {expression}, gymnasium.spaces.Discrete({n}))"


def _range(space: spaces.Box) -> str:
    return f"{_bound(space.low)} to {_bound(space.high)}"


def _bound(bound: Array) -> str:
    """Returns a bound, as one number if it has only one."""
    return f"{bound.flat[0]:g}" if np.all(bound == bound.flat[0]) else str(bound.tolist())

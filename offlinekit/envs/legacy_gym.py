"""Wraps an environment of the legacy gym API as a gymnasium one, by its shape and never by its type."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.errors import UnsupportedError


class LegacyEnv(gymnasium.Env[Any, Any]):
    """A legacy environment behind gymnasium's `reset` and `step`.

    A step of 4 values that is done counts as a truncation if `info["TimeLimit.truncated"]` is true, else
    as a termination. If the environment's spec names `max_episode_steps` and the environment itself does
    not end the episode there, this does, as a truncation.

    Args:
        env: Has `reset`, `step`, `observation_space` and `action_space`.
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.metadata = dict(getattr(env, "metadata", None) or {})
        self.render_mode = getattr(env, "render_mode", None)
        self.observation_space = convert_space(env.observation_space)
        self.action_space = convert_space(env.action_space)
        self._max_steps: int | None = getattr(getattr(env, "spec", None), "max_episode_steps", None)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; returns (observation, info).

        A seed that the environment has no way to take gives a UserWarning.
        """
        super().reset(seed=seed)
        self._step = 0
        arguments: dict[str, Any] = {}
        if options is not None and _takes(self.env, "options"):
            arguments["options"] = options
        if seed is not None:
            arguments |= self._seed(seed)
        result = self.env.reset(**arguments)
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            return result
        return result, {}

    def step(self, action: object) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes one step; returns (observation, reward, terminated, truncated, info)."""
        result = self.env.step(action)
        self._step += 1
        if len(result) == 5:
            observation, reward, terminated, truncated, info = result
        elif len(result) == 4:
            observation, reward, done, info = result
            truncated = bool(done) and bool(info.get("TimeLimit.truncated", False))
            terminated = bool(done) and not truncated
        else:
            raise UnsupportedError(
                f"expected step to return 4 values (gym) or 5 (gymnasium), got {len(result)} "
                f"from {self.env!r}"
            )
        if self._max_steps is not None and self._step >= self._max_steps and not terminated:
            truncated = True
        return observation, float(reward), bool(terminated), bool(truncated), info

    def render(self) -> Any:
        """Returns what the environment renders, as an RGB array if it takes a mode."""
        if "mode" in inspect.signature(self.env.render).parameters:
            return self.env.render(mode="rgb_array")
        return self.env.render()

    def close(self) -> None:
        """Closes the environment."""
        getattr(self.env, "close", lambda: None)()

    def _seed(self, seed: int) -> dict[str, Any]:
        """Seeds by the method that the environment has; returns the keywords that `reset` still needs."""
        if _takes(self.env, "seed"):
            return {"seed": seed}
        if callable(getattr(self.env, "seed", None)):
            self.env.seed(seed)
        else:
            warnings.warn(
                f"{self.env!r} takes no seed (neither reset(seed=) nor seed()): "
                "its episodes cannot be repeated",
                stacklevel=3,
            )
        return {}


def convert_space(space: object) -> spaces.Space[Any]:
    """Returns the gymnasium space of the same shape as a legacy one.

    Args:
        space: A gymnasium space (returned as it is), or an object with `.spaces` (Dict or Tuple), `.low` and
            `.high` (Box), `.nvec` (MultiDiscrete) or `.n` (Discrete, or MultiBinary if it has a shape).

    Raises:
        UnsupportedError: For an object that is none of these.
    """
    if isinstance(space, spaces.Space):
        return space
    if hasattr(space, "spaces"):
        inner = space.spaces
        if isinstance(inner, Mapping):
            return spaces.Dict({key: convert_space(part) for key, part in inner.items()})
        return spaces.Tuple([convert_space(part) for part in inner])
    if hasattr(space, "low") and hasattr(space, "high"):
        dtype = np.dtype(getattr(space, "dtype", None) or np.float32)
        return spaces.Box(np.asarray(space.low, dtype), np.asarray(space.high, dtype), dtype=dtype.type)
    if hasattr(space, "nvec"):
        return spaces.MultiDiscrete(np.asarray(space.nvec))
    if hasattr(space, "n"):
        if getattr(space, "shape", None):
            return spaces.MultiBinary(space.n)
        return spaces.Discrete(int(space.n), start=int(getattr(space, "start", 0)))
    raise UnsupportedError(
        f"expected a space with .n, .low and .high, .nvec or .spaces, got {space!r}; "
        "set the environment's spaces to gymnasium.spaces ones"
    )


def _takes(env: LegacyEnv, argument: str) -> bool:
    """Returns whether `reset` of an environment and of every layer below it accepts a keyword."""
    resets: list[Callable[..., Any]] = [env.reset]
    while "env" in getattr(env, "__dict__", {}) and hasattr(env.env, "reset"):
        env = env.env
        resets.append(env.reset)
    *wrappers, innermost = (inspect.signature(reset).parameters for reset in resets)
    passes = all(
        argument in layer or any(p.kind is p.VAR_KEYWORD for p in layer.values()) for layer in wrappers
    )
    return passes and argument in innermost

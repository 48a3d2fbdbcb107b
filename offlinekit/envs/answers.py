"""What an environment may return from `reset` and `step`, and whether it starts as its seed says."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.envs.given_env import learns
from offlinekit.envs.made_env import innermost
from offlinekit.types import ArrayTree, leaves

Env = gymnasium.Env[Any, Any]
HELD = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
REMEDY = "return (observation, reward, terminated, truncated, info) from step, with a float and two bools"


def checked_reset(answer: object) -> ArrayTree:
    """Returns the observation that a reset began with.

    Raises:
        ValueError: For anything but a pair.
    """
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict):
        observation: ArrayTree = answer[0]
        return observation
    raise ValueError(
        f"reset of the environment returned {_named(answer)}, expected a pair (observation, info) with a dict as "
        "info; return (observation, {})"
    )


def checked_step(answer: object, step: int) -> tuple[ArrayTree, float, bool, bool]:
    """Returns what a step gave: observation, reward, terminated, truncated.

    Args:
        answer: Of the environment.
        step: Steps of the episode before this one.

    Raises:
        ValueError: For another number of values, and for a reward or an end of an episode that is no number.
    """
    if not isinstance(answer, tuple) or len(answer) != 5:
        raise ValueError(
            f"step of the environment returned {_named(answer)}, expected a tuple of 5 values; {REMEDY}"
        )
    observation, reward, terminated, truncated, _ = answer
    return (
        observation,
        reward if type(reward) is float else _number("reward", reward, step),
        bool(terminated if type(terminated) is bool else _number("terminated", terminated, step)),
        bool(truncated if type(truncated) is bool else _number("truncated", truncated, step)),
    )


LARGEST = float(np.finfo(np.float32).max)
"""Beyond it a number that is stored, or seen by a network, is infinite."""


def not_finite(observation: ArrayTree, as_float32: bool = False) -> float | None:
    """Returns the first number of an observation that is NaN or infinite, maybe as float32; None if there is none."""
    for leaf in leaves(observation):
        if leaf.dtype.kind == "f":
            is_wide = as_float32 and leaf.dtype.itemsize > 4
            finite = np.abs(leaf) <= LARGEST if is_wide else np.isfinite(leaf)
            if not finite.all():
                return float(leaf[~finite][0])
    return None


def misfit(observation: ArrayTree, space: gymnasium.Space[Any]) -> str:
    """Returns what an observation is, if it has not the structure and the shapes of its space; else nothing."""
    if isinstance(space, spaces.Dict):
        if not isinstance(observation, dict) or observation.keys() != space.spaces.keys():
            return _form(observation)
        places = space.spaces.items()
        return next((_at(k, wrong) for k, part in places if (wrong := misfit(observation[k], part))), "")
    if isinstance(space, spaces.Tuple):
        if not isinstance(observation, tuple) or len(observation) != len(space.spaces):
            return _form(observation)
        parts = zip(observation, space.spaces, strict=True)
        return next((_at(i, wrong) for i, pair in enumerate(parts) if (wrong := misfit(*pair))), "")
    if not isinstance(space, HELD):
        return ""  # Of a kind that no dataset holds: whoever acts on it must know it.
    fits = isinstance(observation, np.ndarray) and observation.dtype.kind in "biuf"
    return "" if fits and observation.shape == space.shape else _form(observation)  # type: ignore[union-attr]  # An array.


def _at(place: object, wrong: str) -> str:
    return f"{wrong} at {place!r}"


def _form(observation: ArrayTree) -> str:
    if isinstance(observation, dict):
        return f"a dict with {', '.join(map(repr, observation)) or 'nothing'}"
    if isinstance(observation, tuple):
        return f"a tuple of {len(observation)}"
    kind = "" if observation.dtype.kind in "biuf" else f" and dtype {observation.dtype}"
    return f"shape {observation.shape}{kind}"


def _number(name: str, value: object, step: int) -> float:
    """Returns the one number in a value."""
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} of the environment's step {step} is {value!r}, expected a number; {REMEDY}")
    return float(array.reshape(()))


def _named(answer: object) -> str:
    return f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__


class Start(NamedTuple):
    """The first reset of an environment that was seen."""

    seed: int
    observation: ArrayTree
    inner_seed: int | None  # That arrived at the innermost environment; None if it says nothing of it.


_STARTS: WeakKeyDictionary[Env, Start | None] = WeakKeyDictionary()
"""By environment; None once it was warned of."""


def check_seed(env: Env, seed: int, observation: ArrayTree, stacklevel: int = 2) -> None:
    """Warns once if an environment leaves seeds out: two resets with one seed differ, or two seeds do not reach it.

    Args:
        env: Just after `env.reset(seed=seed)`.
        seed: Of the reset.
        observation: That the reset returned.
        stacklevel: Of the warning.
    """
    first = _STARTS.setdefault(env, Start(seed, observation, _inner_seed(env)))
    if first is None:
        return
    if seed != first.seed:
        is_lost = first.inner_seed is not None and _inner_seed(env) == first.inner_seed
        found = f"reset(seed={first.seed}) and reset(seed={seed}) left {env} with the same generator"
    else:
        is_lost = not _are_equal(first.observation, observation) and not learns(env)
        found = f"reset(seed={seed}) of {env} showed another observation than before"
    if is_lost:
        _STARTS[env] = None
        warnings.warn(
            f"{found}: it leaves the seed out, so that no episode can be repeated; pass it on in reset: "
            "self.env.reset(seed=seed, options=options) in a wrapper, super().reset(seed=seed) in an environment",
            stacklevel=stacklevel + 1,
        )


def _inner_seed(env: Env) -> int | None:
    """Returns the seed of the innermost environment's generator, which gymnasium keeps; None if there is none."""
    seed = getattr(innermost(env), "__dict__", {}).get("_np_random_seed")
    return seed if isinstance(seed, int) and seed >= 0 else None


def _are_equal(first: ArrayTree, second: ArrayTree) -> bool:
    pairs = zip(leaves(first), leaves(second), strict=False)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)

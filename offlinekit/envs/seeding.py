"""Whether an environment starts as its seed says, found without a reset of its own."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import gymnasium
import numpy as np

from offlinekit.envs.learned_statistics import learns
from offlinekit.envs.made_env import MadeEnv
from offlinekit.types import ArrayTree, leaves

Env = gymnasium.Env[Any, Any]


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
    while isinstance(env, gymnasium.Wrapper):
        env = env.__dict__["_made"] if isinstance(env, MadeEnv) else env.env  # Without touching it.
    seed = getattr(env, "__dict__", {}).get("_np_random_seed")
    return seed if isinstance(seed, int) and seed >= 0 else None


def _are_equal(first: ArrayTree, second: ArrayTree) -> bool:
    pairs = zip(leaves(first), leaves(second), strict=False)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)

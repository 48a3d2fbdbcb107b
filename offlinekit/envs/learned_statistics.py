"""What wrappers of an environment learn while it is used: running means, left alone by evaluations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from gymnasium.wrappers.utils import RunningMeanStd


@contextmanager
def statistics_kept(env: gymnasium.Env[Any, Any]) -> Iterator[None]:
    """Stops wrappers from learning, and gives their statistics back as they were."""
    layers = list(_wrappers(env))
    learning = [
        (layer, layer.update_running_mean) for layer in layers if hasattr(layer, "update_running_mean")
    ]
    kept = [(layer, copy.deepcopy(_statistics(layer))) for layer in layers]
    for layer, _ in learning:
        layer.update_running_mean = False
    try:
        yield
    finally:
        for layer, was in learning:
            layer.update_running_mean = was
        for layer, statistics in kept:
            vars(layer).update(statistics)


def learns(env: gymnasium.Env[Any, Any]) -> bool:
    """Returns whether wrappers show observations by statistics that change."""
    return any(hasattr(layer, "update_running_mean") for layer in _wrappers(env))


def _statistics(layer: Any) -> dict[str, Any]:
    """Returns the running means of a wrapper, and the running return that one of rewards has."""
    running = {name: value for name, value in vars(layer).items() if isinstance(value, RunningMeanStd)}
    return {
        **running,
        **({"discounted_reward": layer.discounted_reward} if "discounted_reward" in vars(layer) else {}),
    }


def _wrappers(env: Any) -> Iterator[Any]:
    while isinstance(env, gymnasium.Wrapper):
        yield env
        env = env.env

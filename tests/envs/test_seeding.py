"""Environments that leave their seeds out are warned of, at every door that resets with seeds, and others are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import DQN, MLPEncoder
from offlinekit.datasets import MDPDataset, collect
from offlinekit.metrics import RandomPolicy, evaluate

SMALL: dict[str, Any] = {"batch_size": 4, "seed": 0, "device": "cpu", "encoder": MLPEncoder((4,))}
QUIET: dict[str, Any] = {"out": None, "progress": False}
LOST = "leaves the seed out, so that no episode can be repeated; pass it on in reset"


class Swallowing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Resets without the seed that it was given."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.env.reset()


class Shifting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Resets with another seed, the same one each time."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.env.reset(seed=None if seed is None else seed + 1000)


class Own(gymnasium.Env[Any, Any]):
    """Draws from a generator of its own, which no seed reaches."""

    observation_space, action_space = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
    render_mode = "rgb_array"

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.left = 3
        return self.rng.uniform(-1, 1, 4).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return self.rng.uniform(-1, 1, 4).astype(np.float32), 1.0, self.left == 0, False, {}

    def render(self) -> Any:
        return np.zeros((16, 16, 3), np.uint8)


def cartpole(**kwargs: Any) -> Any:
    return gymnasium.make("CartPole-v1", max_episode_steps=3, **kwargs)


def data() -> MDPDataset:
    return MDPDataset(np.eye(4, dtype=np.float32), [0, 1, 0, 1], np.ones(4), [0, 1, 0, 1])


def trained(env: Any) -> None:
    DQN(**SMALL).fit(data(), 4, eval_env=env, eval_interval=2, eval_episodes=1, **QUIET)


def judged_twice(env: Any) -> None:
    for _ in range(2):
        evaluate(RandomPolicy(env.action_space), env, 1, seed=3)


DOORS: dict[str, Callable[[Any], Any]] = {
    "evaluate, of two episodes": lambda env: evaluate(RandomPolicy(env.action_space), env, 2),
    "evaluate, twice": judged_twice,
    "fit(eval_env=)": trained,
    "collect": lambda env: collect(RandomPolicy(env.action_space), env, 6, progress=False),
    "fit_online": lambda env: DQN(**SMALL).fit_online(env, 6, **QUIET),
    "fit_online, from a function": lambda env: DQN(**SMALL).fit_online(lambda: env, 6, **QUIET),
}
BAD: dict[str, Callable[[], Any]] = {
    "a wrapper": lambda: Swallowing(cartpole()),
    "a wrapper inside": lambda: gymnasium.wrappers.TimeLimit(Swallowing(cartpole()), 3),
    "an environment": Own,
}
SOUND: dict[str, Callable[[], Any]] = {
    "made by name": cartpole,
    "another seed": lambda: Shifting(cartpole()),
    "learned statistics": lambda: gymnasium.wrappers.NormalizeObservation(cartpole()),
}


WALKS = [(door, bad) for door in DOORS for bad in BAD]
WALKS.remove(("evaluate, of two episodes", "an environment"))  # Two seeds are no seed twice.


@pytest.mark.parametrize(("door", "bad"), WALKS)
def test_lost_seeds(door: str, bad: str) -> None:
    with pytest.warns(UserWarning, match=LOST) as caught:
        DOORS[door](BAD[bad]())
    assert len([one for one in caught if LOST in str(one.message)]) == 1  # It is said once.


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("sound", SOUND)
def test_seeds_that_arrive(door: str, sound: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", LOST)
        DOORS[door](SOUND[sound]())


def test_nobody_looks_inside_an_environment_that_was_made_here() -> None:
    from offlinekit.datasets import make_env

    env = make_env("CartPole-v1")
    evaluate(RandomPolicy(env.action_space), env, 3)
    assert not env.is_touched

"""A small environment whose episodes are functions of their seeds."""

from __future__ import annotations

import gymnasium
import numpy as np

from offlinekit.datasets import MDPDataset


class Walk(gymnasium.Env):
    """A point on a line, pushed by the action; ends beyond 2, is cut after 6 steps; reward is minus its distance."""

    def __init__(self, discrete: bool = False, fault: int | None = None, what: object = "raise") -> None:
        self.observation_space = gymnasium.spaces.Box(-10, 10, (2,), np.float32)
        box = gymnasium.spaces.Box(-2, 2, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3) if discrete else box
        self.fault, self.what, self.taken, self.acted = fault, what, 0, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.t = float(self.np_random.normal()), 0
        return self._seen(), {}

    def step(self, action):
        self.taken += 1
        self.acted.append(np.array(action))
        if self.taken == self.fault and callable(self.what):
            self.what()
        if self.taken == self.fault and self.what == "raise":
            raise RuntimeError("the arm is stuck")
        self.x += 0.5 * (
            float(action) - 1 if isinstance(self.action_space, gymnasium.spaces.Discrete) else action[0]
        )
        self.x += 0.1 * float(self.np_random.normal())
        self.t += 1
        reward = np.nan if self.taken == self.fault and self.what == "nan" else -abs(self.x)
        return self._seen(), reward, abs(self.x) > 2, self.t == 6, {}

    def _seen(self):
        return np.array([self.x, self.t], np.float32)


def recorded_walk(n_episodes: int = 6, reward: float | None = None) -> MDPDataset:
    """Episodes of four steps in the units of `Walk`, all of them cut."""
    rng, n = np.random.default_rng(0), 4 * n_episodes
    ends = np.arange(n) % 4 == 3
    rewards = rng.normal(size=n) if reward is None else np.full(n, reward)
    space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)
    return MDPDataset(
        rng.normal(size=(n, 2)), rng.uniform(-2, 2, (n, 1)), rewards, np.zeros(n), ends, action_space=space
    )

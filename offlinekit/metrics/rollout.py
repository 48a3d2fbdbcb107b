"""The loop that runs one policy in several environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from offlinekit.metrics.policies import Policy, checked_actions
from offlinekit.types import Array, ArrayTree, map_tree, stack_trees


class _Slot:
    """One environment and the episode that runs in it."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env

    def start(self, episode: int, seed: int) -> None:
        self.episode, self.total, self.length = episode, 0.0, 0
        self.observation = _arrays(self.env.reset(seed=seed)[0])

    def step(self, action: Array, max_steps: int | None) -> bool:
        """Takes one step; returns whether the episode is over."""
        observation, reward, terminated, truncated, _ = self.env.step(action)
        self.observation = _arrays(observation)
        self.total += float(reward)
        self.length += 1
        return terminated or truncated or self.length == max_steps


class Rollout:
    """Runs n episodes over a list of environments, asking the policy about all active ones at once.

    Attributes:
        returns: float64 [n], filled by `run`.
        lengths: int64 [n], filled by `run`.
        starts: The n start observations, in the order of the episodes.
    """

    def __init__(
        self,
        predict: Policy,
        envs: list[gymnasium.Env[Any, Any]],
        n_episodes: int,
        seed: int,
        max_steps: int | None,
    ) -> None:
        self.predict, self.envs, self.seed, self.max_steps = predict, envs, seed, max_steps
        self.returns = np.zeros(n_episodes)
        self.lengths = np.zeros(n_episodes, np.int64)
        self.starts: list[ArrayTree] = []

    def run(self) -> None:
        """Runs every episode to its end."""
        waiting = iter(range(len(self.returns)))
        active = [slot for slot in map(_Slot, self.envs) if self._start(slot, waiting)]
        while active:
            observations = stack_trees([slot.observation for slot in active])
            actions = checked_actions(self.predict(observations), self.envs[0].action_space, len(active))
            active = [
                s for s, action in zip(active, actions, strict=True) if self._goes_on(s, action, waiting)
            ]

    def _start(self, slot: _Slot, waiting: Iterator[int]) -> bool:
        """Starts the next waiting episode; returns whether there was one."""
        episode = next(waiting, None)
        if episode is None:
            return False
        slot.start(episode, self.seed + episode)
        self.starts.append(slot.observation)
        return True

    def _goes_on(self, slot: _Slot, action: Array, waiting: Iterator[int]) -> bool:
        """Steps a slot; at an episode's end notes it and starts another, if one is left."""
        if not slot.step(action, self.max_steps):
            return True
        self.returns[slot.episode], self.lengths[slot.episode] = slot.total, slot.length
        return self._start(slot, waiting)


def _arrays(observation: Any) -> ArrayTree:
    """Returns an observation with arrays of its own as leaves: an environment may reuse its buffer."""
    return map_tree(np.array, observation)  # type: ignore[no-any-return]

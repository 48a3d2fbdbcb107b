"""Episodes of one policy: their returns, lengths and start observations."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from offlinekit.datasets.policies import Policy, checked_actions
from offlinekit.datasets.rollout import EpisodeLoop, Slot
from offlinekit.types import Array, ArrayTree


class Rollout(EpisodeLoop):
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
        super().__init__(envs, seed, max_steps)
        self.predict = predict
        self.returns = np.zeros(n_episodes)
        self.lengths = np.zeros(n_episodes, np.int64)
        self.starts: list[ArrayTree] = []

    def choose(self, observations: ArrayTree, n: int) -> Array:
        """Returns the policy's actions [n, ...]."""
        return checked_actions(self.predict(observations), self.envs[0].action_space, n)

    def another(self) -> bool:
        """Returns whether an episode is left."""
        return self.n_started < len(self.returns)

    def started(self, slot: Slot) -> None:
        """Keeps the start observation."""
        self.starts.append(slot.observation)

    def finished(self, slot: Slot) -> None:
        """Notes return and length."""
        self.returns[slot.episode], self.lengths[slot.episode] = slot.total, slot.length

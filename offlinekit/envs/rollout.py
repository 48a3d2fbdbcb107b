"""Episodes of one policy: their returns, lengths and start observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from offlinekit.envs.callable_policies import checked_actions
from offlinekit.envs.episode_loop import EpisodeLoop, Slot
from offlinekit.envs.stateful_policies import Actor
from offlinekit.types import Array, ArrayTree


class Rollout(EpisodeLoop):
    """Runs n episodes over a list of environments, with one call of the policy for all active ones.

    Attributes:
        returns: float64 [n], filled by `run`.
        lengths: int64 [n], filled by `run`.
        starts: The n start observations, in the order of the episodes.
    """

    def __init__(
        self,
        actor: Actor,
        envs: list[gymnasium.Env[Any, Any]],
        n_episodes: int,
        seed: int,
        max_steps: int | None,
    ) -> None:
        super().__init__(envs, seed, max_steps)
        self.actor = actor
        self.returns = np.zeros(n_episodes)
        self.lengths = np.zeros(n_episodes, np.int64)
        self.starts: list[ArrayTree] = []

    def choose(self, observations: ArrayTree, slots: Sequence[Slot]) -> Array:
        """Returns the policy's actions [n, ...]."""
        rewards, episodes = [slot.reward for slot in slots], [slot.episode for slot in slots]
        actions = self.actor.act(observations, rewards, episodes)
        return checked_actions(actions, self.envs[0].action_space, len(slots))

    def another(self) -> bool:
        """Returns whether an episode is left."""
        return self.n_started < len(self.returns)

    def started(self, slot: Slot) -> None:
        """Keeps the start observation and resets the memory of the policy."""
        self.starts.append(slot.observation)
        self.actor.forget(slot.episode)

    def finished(self, slot: Slot) -> None:
        """Records return and length."""
        self.returns[slot.episode], self.lengths[slot.episode] = slot.total, slot.length
        self.actor.forget(slot.episode)

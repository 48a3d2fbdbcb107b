"""Episodes of one policy: their returns, lengths and start observations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from offlinekit.envs.callable_policies import played_actions
from offlinekit.envs.episode_loop import LONGEST, EpisodeLoop, Slot, time_limit
from offlinekit.envs.stateful_policies import Actor
from offlinekit.ground.progress import Progress
from offlinekit.types import Array, ArrayTree


class Rollout(EpisodeLoop):
    """Runs n episodes over a list of environments, with one call of the policy for all active ones.

    Args:
        actor: What acts.
        envs: As of `EpisodeLoop`, and so are `seed` and `max_steps`.
        n_episodes: How many.
        bar: Counts them, and of one that runs the share of its longest duration.

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
        bar: Progress,
    ) -> None:
        super().__init__(envs, seed, max_steps)
        self.actor, self.bar = actor, bar
        self._longest = max_steps or time_limit(envs[0]) or LONGEST
        self.returns = np.zeros(n_episodes)
        self.lengths = np.zeros(n_episodes, np.int64)
        self.starts: list[ArrayTree] = []

    def choose(self, observations: ArrayTree, slots: Sequence[Slot]) -> Array:
        """Returns the policy's actions [n, ...]."""
        rewards, episodes = [slot.reward for slot in slots], [slot.episode for slot in slots]
        actions = self.actor.act(observations, rewards, episodes)
        return played_actions(actions, self.envs[0].action_space, len(slots))

    def another(self) -> bool:
        """Returns whether an episode is left."""
        return self.n_started < len(self.returns)

    def started(self, slot: Slot) -> None:
        """Keeps the start observation and resets the memory of the policy."""
        self.starts.append(slot.observation)
        self.actor.forget(slot.episode)

    def stepped(self, slot: Slot, before: ArrayTree, index: int) -> None:
        """Counts the step."""
        self.bar.advance(1 / self._longest)

    def finished(self, slot: Slot) -> None:
        """Notes return and length; warns of a return that is no number."""
        if not math.isfinite(slot.total):
            warnings.warn(
                f"rewards of the environment add up to {slot.total} in the episode of seed {self.seed + slot.episode}: "
                "it has no return, and neither has their mean",
                stacklevel=6,
            )
        self.returns[slot.episode], self.lengths[slot.episode] = slot.total, slot.length
        self.bar.advance(1 - slot.length / self._longest)
        self.actor.forget(slot.episode)

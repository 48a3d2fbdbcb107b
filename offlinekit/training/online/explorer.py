"""What acts in an online run: the policy, with noise, after random steps or behind a guide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.envs.callable_policies import RandomPolicy, checked_actions
from offlinekit.envs.stateful_policies import Actor, Memoryless, StatefulPolicy, as_actor
from offlinekit.errors import UnsupportedError
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.types import Array, ArrayTree, rows

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo


class Explorer(StatefulPolicy):
    """Acts in episodes side by side as the settings of an online run say, within the bounds of the space.

    Args:
        algo: What learns.
        settings: Of the run.
        space: Of the environment's actions.
        reached: Returns the environment steps taken, and the share of the run that is done.
    """

    def __init__(
        self,
        algo: Algo,
        settings: OnlineSettings,
        space: gymnasium.Space[Any],
        reached: Callable[[], tuple[int, float]],
    ) -> None:
        super().__init__()
        self.settings, self.space, self.reached = settings, space, reached
        self.learner = _actor(algo, settings["exploration"] == "policy")
        guide = settings["guide"]
        self.guide = None if guide is None else as_actor(guide)
        self._ages: dict[int | None, int] = {}
        if settings["noise"] > 0 and not (isinstance(space, gymnasium.spaces.Box) and space.is_bounded()):
            raise UnsupportedError(
                f"noise needs actions in a bounded Box, got {space}; give epsilon= for discrete actions"
            )
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Begins the noise anew with a seed."""
        noise, uniform = np.random.SeedSequence(seed).generate_state(2).tolist()
        self._rng, self._random = np.random.default_rng(noise), RandomPolicy(self.space, uniform)

    def act(self, observations: ArrayTree, rewards: Sequence[float], episodes: Sequence[int]) -> Array:
        """Returns the actions [B, ...] in B episodes."""
        n_steps, done = self.reached()
        if n_steps < self.settings["random_steps"]:
            return self._random(observations)
        actions = checked_actions(
            self.learner.act(observations, rewards, episodes), self.space, len(episodes)
        )
        if self.guide is not None:
            self._put_guides(actions, done, observations, rewards, episodes)
        if self.settings["noise"] > 0:
            half = (self.space.high - self.space.low) / 2  # type: ignore[attr-defined]  # A Box, as checked.
            actions = actions + self.settings["noise"] * half * self._rng.normal(size=actions.shape)
        return actions

    def forget(self, episode: int | None) -> None:
        """Begins an episode anew, or lets go of one that is over."""
        self._ages.pop(episode, None)
        for actor in (self.learner, self.guide):
            if actor is not None:
                actor.forget(episode)

    def _put_guides(
        self,
        actions: Array,
        done: float,
        observations: ArrayTree,
        rewards: Sequence[float],
        episodes: Sequence[int],
    ) -> None:
        """Puts the guide's actions in place of the learner's in young episodes; Uchendu et al., arXiv:2204.02372."""
        limit = round(self.settings["guide_steps"] * (1.0 - done))
        ages = [self._ages.get(episode, 0) for episode in episodes]
        self._ages.update({episode: age + 1 for episode, age in zip(episodes, ages, strict=True)})
        young = [i for i, age in enumerate(ages) if age < limit]
        if young and self.guide is not None:
            guided_rows = rows(observations, np.array(young))
            guided = self.guide.act(guided_rows, [rewards[i] for i in young], [episodes[i] for i in young])
            actions[young] = checked_actions(guided, self.space, len(young))


def _actor(algo: Algo, sample: bool) -> Actor:
    if algo.is_stateful:
        return algo.as_stateful(sample=sample)
    return Memoryless(algo.sample_action if sample else algo.predict)

"""What acts in an online run: the policy, with noise, after random steps or behind a guide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.envs.callable_policies import RandomPolicy, checked_actions
from offlinekit.envs.frame_stacking import FrameMemory, actor_in
from offlinekit.envs.past.sight import sight_of
from offlinekit.envs.stateful_policies import Actor, Memoryless, StatefulPolicy
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import held_space
from offlinekit.ground.schedules import largest, value_at
from offlinekit.nn.random import derive
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.types import Array, ArrayTree, rows

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.training.engines.recorded_policy import Choose

GUIDE_STAGES = 10
"""Falls from all of the guide's steps to none, by the rule "return"."""


class Explorer(StatefulPolicy):
    """Acts in episodes side by side as the settings of an online run say, within the bounds of the space.

    Args:
        algo: What learns.
        settings: Of the run.
        space: Of the environment's actions.
        shows: Space of its observations.
        reached: Returns the environment steps taken, and the share of the run that is done.
        prepare: Makes a quicker policy, of scaled observations, of the algorithm's own.
    """

    def __init__(
        self,
        algo: Algo,
        settings: OnlineSettings,
        space: gymnasium.Space[Any],
        shows: gymnasium.Space[Any],
        reached: Callable[[], tuple[int, float]],
        prepare: Callable[[Choose], Choose] = lambda choose: choose,
    ) -> None:
        super().__init__()
        self.algo, self.settings, self.space, self.reached = algo, settings, space, reached
        self._held = held_space(space)
        self.learner = _actor(algo, settings["exploration"] == "policy", prepare)
        guide = settings["guide"]
        self.guide = None if guide is None else actor_in(guide, shows)
        self._ages: dict[int | None, int] = {}
        is_bounded = isinstance(self._held, gymnasium.spaces.Box) and self._held.is_bounded()
        if largest(settings["noise"]) > 0 and not is_bounded:
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
        actions = self.learner.act(observations, rewards, episodes)
        noise = value_at("noise", self.settings["noise"], done)
        if self.guide is None and noise == 0:
            return np.asarray(actions)  # What takes them checks them.
        actions = checked_actions(actions, self.space, len(episodes), is_cast=False)
        if actions.dtype.kind == "f":  # With room for the guide's; what takes them casts them, once.
            actions = actions.astype(np.float64)
        if self.guide is not None:
            self._put_guides(actions, done, observations, rewards, episodes)
        if noise > 0:
            low, high = self._held.low, self._held.high  # type: ignore[attr-defined]  # A Box, as checked.
            half = (high.astype(np.float64) - low) / 2 if high.dtype.kind in "iu" else (high - low) / 2
            actions = actions + noise * half * self._rng.normal(size=actions.shape)
        return actions

    def forget(self, episode: int | None) -> None:
        """Begins an episode anew, or lets go of one that is over."""
        self._ages.pop(episode, None)
        for actor in (self.learner, self.guide):
            if actor is not None:
                actor.forget(episode)

    def guided_steps(self, done: float, episode: int) -> int:
        """Returns how many steps of an episode are the guide's.

        Args:
            done: Share of the run that is done.
            episode: Its number.
        """
        most, rule = self.settings["guide_steps"], self.settings["guide_rule"]
        if rule == "random":
            seed = derive(self.algo.seed or 0, f"steps of the guide in episode {episode}")
            return int(np.random.default_rng(seed).integers(0, most + 1))
        if rule == "return":
            column = "online/return_mean"
            returns = [row[column] for row in self.algo.history if column in row]
            done = min(n_passed(returns) / GUIDE_STAGES, 1.0)
        return round(most * (1.0 - done))

    def _put_guides(
        self,
        actions: Array,
        done: float,
        observations: ArrayTree,
        rewards: Sequence[float],
        episodes: Sequence[int],
    ) -> None:
        """Puts the guide's actions in place of the learner's in young episodes; Uchendu et al., arXiv:2204.02372."""
        ages = [self._ages.get(episode, 0) for episode in episodes]
        self._ages.update({episode: age + 1 for episode, age in zip(episodes, ages, strict=True)})
        young = [i for i, age in enumerate(ages) if age < self.guided_steps(done, episodes[i])]
        if young and self.guide is not None:
            guided_rows = rows(observations, np.array(young))
            guided = self.guide.act(guided_rows, [rewards[i] for i in young], [episodes[i] for i in young])
            actions[young] = checked_actions(guided, self.space, len(young), is_cast=False)


def n_passed(returns: Sequence[float], tolerance: float = 0.05, window: int = 3) -> int:
    """Returns how many moving means of returns were at least the best one before, less a share of its size.

    Source: the curriculum of Uchendu et al., arXiv:2204.02372, section 4.2, as the package jsrl has it.

    Args:
        returns: One after another.
        tolerance: Share of the size of the best mean, at least 0.
        window: Returns in a mean.
    """
    passed, best = 0, -np.inf
    for end in range(window, len(returns) + 1):
        mean = float(np.mean(returns[end - window : end]))
        if best == -np.inf or mean >= best - tolerance * abs(best):
            passed += best > -np.inf
            best = max(best, mean)
    return passed


def _actor(algo: Algo, sample: bool, prepare: Callable[[Choose], Choose]) -> Actor:
    if algo.is_stateful:
        return algo.as_stateful(sample=sample)
    policy = algo.acting(sample, prepare)
    sight = sight_of(algo)
    return FrameMemory(policy, *sight) if max(sight.frame_stack, sight.history) > 1 else Memoryless(policy)

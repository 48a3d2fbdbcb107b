"""Behaviour of a recorder: the actions that the environment takes, and their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from offlinekit.envs.callable_policies import RandomPolicy, log_volume, played_actions
from offlinekit.envs.episode_loop import Slot
from offlinekit.envs.frame_stacking import lacks_past
from offlinekit.envs.past.seen_past import Past
from offlinekit.envs.past.sight import sight_of
from offlinekit.envs.stateful_policies import as_actor
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import held_space
from offlinekit.types import Array, ArrayTree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.interfaces import PolicyLike


class Behaviour:
    """A policy whose actions are random with probability epsilon and lie inside the action space.

    The policy returns actions, or a pair of actions and their log-probabilities [B]. If it has a method
    `log_prob(observations, actions)`, it is called with the actions really taken. One with a method
    `seed(seed)` is seeded at each part of a recording, which makes that part repeatable.

    Args:
        policy: As `as_actor` takes it. A stateful one does not see actions drawn in place of its own.
        action_space: Of the environment.
        epsilon: Probability, in each step, of an action drawn uniformly from the space.
        shows: Space of the environment's observations; if a policy sees stacks or histories of them, it is shown these.

    Raises:
        ValueError: For an epsilon outside [0, 1].
        UnsupportedError: For an epsilon above 0 in an unbounded space.
    """

    def __init__(
        self,
        policy: PolicyLike,
        action_space: gymnasium.Space[Any],
        epsilon: float = 0.0,
        shows: gymnasium.Space[Any] | None = None,
    ) -> None:
        if not 0 <= epsilon <= 1:
            raise ValueError(f"epsilon must be in [0, 1], got {epsilon}")
        if epsilon > 0:
            log_volume(action_space)
        self.actor, self.space, self.epsilon = as_actor(policy), action_space, epsilon
        self._past = Past(sight_of(policy)) if lacks_past(policy, shows) else None
        self._held = held_space(action_space)
        self._log_prob, self._seed_policy = (getattr(policy, name, None) for name in ("log_prob", "seed"))
        self.seed(0)

    def seed(self, seed: int) -> None:
        """Seeds the random numbers."""
        own, noise, policy = np.random.SeedSequence(seed).generate_state(3).tolist()
        self._rng, self._random = np.random.default_rng(own), RandomPolicy(self.space, noise)
        if callable(self._seed_policy):
            self._seed_policy(policy)

    def __call__(self, observations: ArrayTree, slots: Sequence[Slot]) -> tuple[Array, Array | None]:
        """Returns the actions [n, ...] on the observations of n slots, and log-probabilities [n] or None.

        Raises:
            ValueError: For actions or log-probabilities of another shape.
        """
        n, rewards, episodes = len(slots), [slot.reward for slot in slots], [slot.episode for slot in slots]
        seen = observations if self._past is None else self._past.seen(observations, episodes)
        result = self.actor.act(seen, rewards, episodes)
        actions, log_probs = result if isinstance(result, tuple) else (result, None)
        actions = self._mixed(played_actions(actions, self.space, n), observations)
        if self._log_prob is not None and (log_probs is None or self.epsilon > 0):
            log_probs = self._answer(seen, actions)
        elif self.epsilon > 0:
            log_probs = None
        if log_probs is None:
            return actions, None
        log_probs = np.asarray(log_probs, np.float64)
        if log_probs.shape != (n,):
            raise ValueError(f"expected log-probabilities of shape ({n},), got {log_probs.shape}")
        return actions, self._mixture(log_probs, observations, actions)

    def forget(self, episode: int) -> None:
        """Begins an episode anew, or lets go of one that is over."""
        self.actor.forget(episode)
        if self._past is not None:
            self._past.forget(episode)

    def _answer(self, observations: ArrayTree, actions: Array) -> ArrayLike | None:
        """Returns the log-probabilities of the actions taken; None if the policy has none."""
        try:
            return self._log_prob(observations, actions)  # type: ignore[misc,no-any-return]  # Called only if there is one.
        except UnsupportedError:
            return None

    def _mixed(self, actions: Array, observations: ArrayTree) -> Array:
        if self.epsilon > 0:
            chance = self._rng.random(len(actions)) < self.epsilon
            chance = chance.reshape(-1, *[1] * (actions.ndim - 1))
            actions = np.where(chance, self._random(observations).astype(actions.dtype), actions)
        return actions

    def _mixture(self, log_probs: Array, observations: ArrayTree, actions: Array) -> Array:
        """Returns log((1 - epsilon) p + epsilon u) of the policy's own log p, u that of actions drawn uniformly.

        At a bound of a Box p is a mass, if the policy has one there, and u none.
        """
        if self.epsilon == 0:
            return log_probs
        with np.errstate(divide="ignore"):
            own = np.log1p(-self.epsilon) + log_probs
        mixed: Array = np.logaddexp(own, np.log(self.epsilon) + self._random.log_prob(observations, actions))
        if isinstance(self._held, gymnasium.spaces.Box):
            edge = (
                ((actions <= self._held.low) | (actions >= self._held.high)).reshape(len(actions), -1).any(1)
            )
            mixed = np.where(edge & np.isfinite(own), own, mixed)
        return mixed

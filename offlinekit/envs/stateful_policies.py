"""Policies that remember the steps of their episode, and how any policy acts in episodes side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from offlinekit.envs.callable_policies import Act, as_policy
from offlinekit.errors import UnsupportedError
from offlinekit.types import Array, ArrayTree, map_tree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.interfaces import PolicyLike
    from offlinekit.types import ArrayTreeLike


class Actor(Protocol):
    """A policy that acts in several episodes at once."""

    def act(self, observations: ArrayTree, rewards: Sequence[float], episodes: Sequence[int]) -> ArrayLike:
        """Returns the actions [B, ...] in B episodes, each with its newest observation and reward."""

    def forget(self, episode: int | None) -> None:
        """Resets the memory of an episode, or drops that of one that is over."""


class StatefulPolicy:
    """A policy that remembers: call `reset`, then `predict(observation, reward)` in each step of an episode.

    It can act in several episodes at once, each with a memory of its own. A subclass writes `begin` and `choose`.
    """

    def __init__(self) -> None:
        self._memories: dict[int | None, Any] = {}

    def begin(self) -> object:
        """Returns the memory of an episode that has taken no step."""
        raise NotImplementedError

    def choose(
        self, observations: ArrayTree, rewards: Array, memories: list[Any]
    ) -> tuple[Array, Sequence[Any]]:
        """Returns the actions [B, ...] and the memories that hold them.

        Args:
            observations: [B, ...].
            rewards: float64 [B], of the actions before; 0 in a first step.
            memories: One an episode, as `begin` or the last call gave them.
        """
        raise NotImplementedError

    def predict(self, observation: ArrayTreeLike, reward: float = 0.0) -> Array:
        """Returns the action on one observation of the episode under way.

        Args:
            observation: The newest one, without an axis of batches.
            reward: What the action before it has earned, or an array of that one number; 0 in the first step.

        Raises:
            TypeError: For a reward that is not one number.
        """
        single = map_tree(lambda leaf: np.asanyarray(leaf)[None], observation)
        action: Array = self._act(single, [_one_number(reward)], [None])[0]
        return action

    def reset(self) -> None:
        """Drops the memory of all episodes."""
        self._memories.clear()

    def act(self, observations: ArrayTree, rewards: Sequence[float], episodes: Sequence[int]) -> Array:
        """Returns the actions [B, ...] in B episodes, each with its newest observation and reward."""
        return self._act(observations, rewards, episodes)

    def forget(self, episode: int | None) -> None:
        """Resets the memory of an episode, or drops that of one that is over."""
        self._memories.pop(episode, None)

    def _act(
        self, observations: ArrayTree, rewards: Sequence[float], episodes: Sequence[int | None]
    ) -> Array:
        memories = [self._memories[e] if e in self._memories else self.begin() for e in episodes]
        actions, after = self.choose(observations, np.asarray(rewards, np.float64), memories)
        self._memories.update(zip(episodes, after, strict=True))
        return actions


def _one_number(reward: object) -> float:
    """Returns a reward, of an array of one number too, as vector environments give it."""
    given = np.asarray(reward)
    if given.size != 1 or given.dtype.kind not in "fiub":
        raise TypeError(f"reward must be one number, that of the action before, got {reward!r:.100}")
    return float(given.item())


class Memoryless:
    """A policy that looks at the newest observations alone."""

    def __init__(self, policy: Act) -> None:
        self.policy = policy

    def act(self, observations: ArrayTree, rewards: Sequence[float], episodes: Sequence[int]) -> ArrayLike:
        """Returns the actions of the policy on the observations."""
        return self.policy(observations)

    def forget(self, episode: int | None) -> None:
        """Does nothing."""


def as_actor(policy: PolicyLike) -> Actor:
    """Returns what acts in episodes side by side for a policy.

    Args:
        policy: A `StatefulPolicy`; an object that `is_stateful`, whose `as_stateful()` gives one; or what
            `as_policy` takes.

    Raises:
        UnsupportedError: For something that is no policy.
    """
    if isinstance(policy, StatefulPolicy):
        return policy
    if not isinstance(policy, type) and getattr(policy, "is_stateful", False):
        return as_actor(policy.as_stateful())  # type: ignore[union-attr]  # As it says.
    return Memoryless(as_policy(policy))


def check_memoryless(policy: object) -> None:
    """Checks that what a policy does follows from a state alone, as estimates from recorded rows need it.

    Raises:
        UnsupportedError: For a policy that remembers its episode, of sequences or chunks.
    """
    if isinstance(policy, StatefulPolicy) or getattr(policy, "is_stateful", False):
        owner = vars(policy).get("impl")  # Of an algorithm that acts as drawn, or step by step.
        raise UnsupportedError(
            f"{type(getattr(owner, 'config', policy)).__name__} acts by what came before in its episode, so no state "
            "says what it does, as estimates from recorded rows need it; evaluate it with evaluate() in an environment"
        )

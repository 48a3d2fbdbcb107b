"""Rows of an episode under way: which of them are complete, and what they then hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from offlinekit.sampling.n_step import discounted_sums
from offlinekit.types import Array


class CompleteRow(NamedTuple):
    """One n-step transition, scaled.

    Attributes:
        own: The observation and the action.
        reward: Discounted sum over the steps taken.
        discount: gamma ** steps, 0 if the MDP ended within them.
        after: The observation after them and, if next actions are needed, the action there.
        to_go: Discounted sum of rewards to the end of the episode; 0 unless it is needed.
    """

    own: Array
    reward: float
    discount: float
    after: Array
    to_go: float


class EpisodeRows:
    """The steps of one episode that wait to become rows.

    A row is complete once the state n steps later is known, if next actions are needed once the action there is, and
    if returns to go are needed once the episode is over. At its end rows take fewer steps; a time-out leaves their
    discount as it is, and rows without the next action that they need are dropped. Source of the rules:
    `n_step_transitions`, which gives the same rows of a whole dataset.

    Args:
        gamma: Discount factor of one step.
        n_step: Largest number of steps, n >= 1.
        next_actions: Whether rows need the next action.
        returns: Whether rows need the returns to go.
    """

    def __init__(self, gamma: float, n_step: int, next_actions: bool, returns: bool) -> None:
        self.gamma, self.n_step = gamma, n_step
        self.next_actions, self.returns = next_actions, returns
        self.clear()

    def clear(self) -> None:
        """Starts another episode."""
        self.observations: list[Array] = []
        self.actions: list[Array] = []
        self.rewards: list[np.float32] = []
        self.terminated = False

    def add(
        self, observation: Array, action: Array, reward: float, after: Array, terminated: bool
    ) -> Iterator[CompleteRow]:
        """Adds a step, and yields the rows that it completes."""
        self.observations += [after] if self.observations else [observation, after]
        self.actions.append(action)
        self.rewards.append(np.float32(reward))
        self.terminated = terminated
        ahead = self.n_step + self.next_actions
        if not self.returns and len(self.actions) >= ahead:
            yield self._row(0, self.n_step, 0.0)
            for waiting in (self.observations, self.actions, self.rewards):
                del waiting[0]

    def finish(self) -> Iterator[CompleteRow]:
        """Yields the rows that are left at the end of the episode, and begins another."""
        n_rows = len(self.actions)
        to_go = np.zeros(n_rows)
        if self.returns and n_rows:
            to_go = discounted_sums(np.array(self.rewards), np.arange(n_rows) == n_rows - 1, self.gamma)
        for i in range(n_rows):
            steps = min(self.n_step, n_rows - i)
            if i + steps < n_rows or self.terminated or not self.next_actions:
                yield self._row(i, steps, float(to_go[i]))
        self.clear()

    def _row(self, i: int, steps: int, to_go: float) -> CompleteRow:
        reward = self.rewards[i]
        for k in range(1, steps):
            reward = reward + np.float32(self.gamma**k) * self.rewards[i + k]
        ended = self.terminated and i + steps == len(self.actions)
        after = [self.observations[i + steps], self._action(i + steps)] if self.next_actions else None
        return CompleteRow(
            np.concatenate([self.observations[i], self.actions[i]]),
            float(reward),
            0.0 if ended else self.gamma**steps,
            self.observations[i + steps] if after is None else np.concatenate(after),
            to_go,
        )

    def _action(self, i: int) -> Array:
        return self.actions[i] if i < len(self.actions) else np.zeros_like(self.actions[0])

"""Finite problems: exact values by linear algebra, and a model counted from data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from offlinekit.errors import UnanswerableError
from offlinekit.ground.hints import answers_keywords
from offlinekit.metrics.ope.logged import Floats
from offlinekit.types import Array, leaves

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree

Ints = npt.NDArray[np.int64]
MOST_STATES = 10_000


def exact_values(transition: Floats, reward: Floats, policy: Floats, gamma: float) -> tuple[Floats, Floats]:
    """Returns v [S] and q [S, A] of a policy, v = (I - gamma P)^-1 r.

    Args:
        transition: [S, A, S]; what a row lacks to sum 1 ends the episode, so zero rows make terminal states.
        reward: [S, A], or [S, A, S] by the next state.
        policy: Probabilities [S, A].
        gamma: Discount factor in [0, 1]; with 1 every state must reach an end.

    Raises:
        UnanswerableError: With gamma 1, if some state never ends.
    """
    if reward.ndim == 3:
        reward = np.einsum("ijk,ijk->ij", transition, reward)
    moves = np.einsum("ij,ijk->ik", policy, transition)
    v = _solved(moves, (policy * reward).sum(1), gamma)
    return v, np.asarray(reward + gamma * transition @ v)


def exact_value(transition: Floats, reward: Floats, policy: Floats, gamma: float, initial: Floats) -> float:
    """Returns the expected discounted return from starts drawn by `initial` [S]; else as `exact_values`."""
    return float(initial @ exact_values(transition, reward, policy, gamma)[0])


@answers_keywords
@dataclass(frozen=True)
class TabularModel:
    """Transitions of N rows, taken for the whole truth about a finite problem.

    Attributes:
        states, actions, next_states: int64 [N].
        rewards: [N].
        terminals: bool [N], where the MDP ended and the next state does not count.
        n_states, n_actions: S and A.
        shrinkage: Rows that each pair (state, action) borrows from the average of its state; 0 borrows for
            the pairs without a row alone.
    """

    states: Ints
    actions: Ints
    rewards: Floats
    next_states: Ints
    terminals: npt.NDArray[np.bool_]
    n_states: int
    n_actions: int
    shrinkage: float = 0.0

    def values(self, policy: Floats, gamma: float) -> tuple[Floats, Floats]:
        """Returns v [S] and q [S, A] of a policy [S, A] in the model; states without a row have the mean v.

        Raises:
            UnanswerableError: With gamma 1, if some state never ends in the data.
        """
        pairs = self.states * self.n_actions + self.actions
        table = _sums(pairs, np.ones(len(pairs)), self.n_states * self.n_actions).reshape(policy.shape)
        visits = table.sum(1)
        kept = _shares(table, table + self.shrinkage)  # [S, A], of a pair's own rows in its average.
        borrowed = (policy * (1 - kept)).sum(1)
        weights = (policy * _shares(kept, table))[self.states, self.actions]
        weights = weights + borrowed[self.states] / visits[self.states]
        arrivals = self.states * self.n_states + self.next_states
        moves = _sums(arrivals, weights * ~self.terminals, self.n_states**2).reshape(-1, self.n_states)
        v = _solved(moves, _sums(self.states, weights * self.rewards, self.n_states), gamma)
        outcomes = self.rewards + gamma * v[self.next_states] * ~self.terminals
        averages = _shares(_sums(self.states, outcomes, self.n_states), visits)
        q = _shares(_sums(pairs, outcomes, table.size).reshape(policy.shape), table)
        q = kept * q + (1 - kept) * averages[:, None]
        unknown = visits == 0
        v[unknown] = q[unknown] = v[self.states].mean()
        return v, q


def state_numbers(observations: ArrayTree) -> Ints | None:
    """Returns the states [N] if observations are one whole number from 0 to 9,999 each; else None."""
    parts = leaves(observations)
    array: Array = np.asarray(parts[0])
    if len(parts) != 1 or array.size != len(array):
        return None
    flat = array.reshape(-1)
    whole = flat.astype(np.int64)
    inside = len(flat) > 0 and bool((whole == flat).all()) and whole.min() >= 0 and whole.max() < MOST_STATES
    return whole if inside else None


def _solved(moves: Floats, rewards: Floats, gamma: float) -> Floats:
    try:
        v = np.linalg.solve(np.eye(len(moves)) - gamma * moves, rewards)
    except np.linalg.LinAlgError:
        v = np.full(len(moves), np.inf)
    if not np.abs(v).max(initial=0.0) < 1e12:
        raise UnanswerableError(
            f"gamma={gamma} needs every state to reach an end, and some state does not; use gamma < 1"
        )
    return np.asarray(v)


def _sums(index: Ints, values: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(index, values, size), np.float64)


def _shares(numerators: Floats, denominators: Floats) -> Floats:
    return np.divide(numerators, denominators, out=np.zeros_like(numerators), where=denominators > 0)

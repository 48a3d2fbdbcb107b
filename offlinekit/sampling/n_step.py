"""Returns, and n steps joined into one transition: computed once for all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.episodes import recorded_next
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset


@dataclass(frozen=True)
class NStep:
    """Columns of n-step transitions, a row each: [N] arrays.

    Attributes:
        rewards: Discounted sum of the rewards of the steps taken.
        discounts: gamma ** steps, 0 where the MDP ended within them.
        next_rows: Row of the next observation; N + e is the final observation of episode e.
        steps: How many steps were taken: n, fewer at the end of an episode, 0 where none can be.
    """

    rewards: Array
    discounts: Array
    next_rows: Array
    steps: Array


def n_step_transitions(dataset: MDPDataset, rewards: Array, gamma: float, n_step: int) -> NStep:
    """Joins n steps into one transition without crossing the end of an episode.

    If a recording stopped without its final observation, the last step cannot be bootstrapped from: the
    steps before it look ahead to the last recorded observation, and the row itself takes 0 steps.

    Args:
        dataset: N rows in E episodes.
        rewards: [N], scaled.
        gamma: Discount factor of one step.
        n_step: Largest number of steps, >= 1.
    """
    n_rows, ends, lengths = len(rewards), dataset.episode_ends, dataset.episode_lengths()
    terminal = dataset.terminals[ends - 1]
    reachable = ends - np.where(terminal | dataset.final_known, 0, 1)
    row = np.arange(n_rows)
    steps = np.minimum(n_step, np.repeat(reachable, lengths) - row)
    total = np.where(steps > 0, rewards, 0.0)
    for k in range(1, n_step):
        total[:-k] += np.where(steps[:-k] > k, gamma**k * rewards[k:], 0.0)
    discounts = (gamma ** np.arange(n_step + 1))[steps]
    next_rows = row + steps
    at_end = np.flatnonzero(next_rows == np.repeat(ends, lengths))
    episode = np.searchsorted(ends, at_end, side="right")
    next_rows[at_end] = n_rows + episode
    discounts[at_end[terminal[episode]]] = 0.0
    return NStep(total, discounts, next_rows, steps)


def drawable_rows(dataset: MDPDataset, n_step: int, needs: Sequence[str]) -> Array:
    """Returns which rows bring all that a batch needs, bool [N], without making their transitions.

    Args:
        dataset: N rows.
        n_step: Steps of a transition.
        needs: Names of columns.
    """
    if "next_observations" not in needs:
        return np.ones(len(dataset), np.bool_)
    drawable = recorded_next(dataset) | dataset.terminals
    if "next_actions" in needs:  # None follows a final observation at which the MDP went on.
        ends, lengths = dataset.episode_ends, dataset.episode_lengths()
        left = np.repeat(ends, lengths) - np.arange(len(dataset))  # Rows of the episode from this one on.
        drawable &= (left > n_step) | np.repeat(dataset.terminals[ends - 1] | ~dataset.final_known, lengths)
    result: Array = drawable
    return result


def single_steps(dataset: MDPDataset, rewards: Array, gamma: float) -> NStep:
    """Returns the transitions of rows in no order of time, which bring their next observations along.

    A row whose next observation was not recorded, though the MDP went on, takes 0 steps.
    """
    n_rows = len(dataset)
    steps = (recorded_next(dataset) | dataset.terminals).astype(np.int64)
    discounts = np.where(dataset.terminals, 0.0, gamma**steps)
    return NStep(np.where(steps > 0, rewards, 0.0), discounts, n_rows + np.arange(n_rows), steps)


def returns_to_go(dataset: MDPDataset, rewards: Array, gamma: float) -> Array:
    """Returns the discounted sum of rewards from each row to the end of its episode, [N] float64."""
    last = np.zeros(len(rewards), np.bool_)
    last[dataset.episode_ends - 1] = True
    return discounted_sums(rewards, last, gamma)


def endless_returns(dataset: MDPDataset, rewards: Array, gamma: float) -> Array:
    """Returns the returns to go [N] float64, those of failed episodes as if they went on for ever.

    An episode failed that never earns more than the lowest reward r of the dataset; each of its rows returns
    r / (1 - gamma). Source: the code of Nakamoto et al. 2023, arXiv:2303.05479, for sparse rewards.

    Raises:
        ValueError: For gamma = 1, whose sum has no end.
    """
    if gamma == 1.0:
        raise ValueError("returns without an end need gamma below 1, got 1.0")
    lowest = float(rewards.min())
    failed = np.maximum.reduceat(rewards, dataset.episode_starts) == lowest
    lengths = dataset.episode_ends - dataset.episode_starts
    returns = returns_to_go(dataset, rewards, gamma)
    return np.where(np.repeat(failed, lengths), lowest / (1.0 - gamma), returns)


def discounted_sums(rewards: Array, last: Array, gamma: float, after: float = 0.0) -> Array:
    """Returns sums[i] = rewards[i] + gamma * sums[i + 1], begun anew after each last row; [N] float64.

    The rows are cut into about sqrt(N) columns, which are summed backwards side by side.

    Args:
        rewards: [N].
        last: bool [N], set where an episode ends.
        gamma: Discount factor of one step.
        after: The sum at row N, for rows whose episode goes on there.
    """
    n_rows = len(rewards)
    height = max(math.isqrt(n_rows), 1)
    width = -(-n_rows // height)
    sums, reach = np.zeros(width * height), np.ones(width * height)
    sums[:n_rows], reach[:n_rows] = rewards, np.where(last, 0.0, gamma)
    sums = np.ascontiguousarray(sums.reshape(width, height).T)
    reach = np.ascontiguousarray(reach.reshape(width, height).T)
    for i in range(height - 2, -1, -1):
        sums[i] += reach[i] * sums[i + 1]
        reach[i] *= reach[i + 1]  # How much of the sum below the column belongs to this row.
    below = np.empty(width)
    for j in range(width - 1, -1, -1):
        below[j] = after
        after = sums[0, j] + reach[0, j] * after
    sums += reach * below
    return np.ascontiguousarray(sums.T).reshape(-1)[:n_rows]

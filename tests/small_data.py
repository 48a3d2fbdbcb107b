"""Batches and datasets of a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from table_networks import STATES
from torch import Tensor

from offlinekit.datasets import MDPDataset
from offlinekit.sampling.batch import Batch


def make_batch(
    observations: Tensor,
    actions: Any,
    rewards: Any = None,
    *,
    next_observations: Tensor | None = None,
    next_actions: Any = None,
    discounts: Any = None,
    returns: Any = None,
    masks: Any = None,
    **columns: Tensor,
) -> Batch:
    """Makes a batch by hand; what is not given is zero, the next observations the observations themselves.

    Args:
        columns: Further named columns.
    """
    n_rows = len(observations)
    acted = torch.as_tensor(actions)

    def column(values: Any) -> Tensor:
        return torch.zeros(n_rows) if values is None else torch.as_tensor(values, dtype=torch.float32)

    return Batch(
        observations=observations,
        actions=acted,
        rewards=column(rewards),
        next_observations=observations if next_observations is None else next_observations,
        discounts=column(discounts),
    ).with_columns(
        next_actions=torch.zeros_like(acted) if next_actions is None else torch.as_tensor(next_actions),
        returns=column(returns),
        masks=None if masks is None else torch.as_tensor(masks, dtype=torch.float32),
        **columns,
    )


def two_steps(actions: Sequence[int], /, **changes: Any) -> Batch:
    """Makes row 0: state 0, reward 1, then state 1 at discount 1/2; row 1: state 1, reward -1, the end."""
    batch = make_batch(STATES, actions, [1, -1], next_observations=STATES.flip(0), discounts=[0.5, 0])
    return batch.with_columns(**changes)


def discrete_dataset(n_states: int = 2, n_actions: int = 3, **options: Any) -> MDPDataset:
    """Makes one episode that visits each one-hot state with each action once; rewards count up from 0."""
    n_rows = n_states * n_actions
    return MDPDataset(
        np.eye(n_states, dtype=np.float32)[np.arange(n_rows) // n_actions],
        np.arange(n_rows) % n_actions,
        np.arange(n_rows, dtype=np.float32),
        np.arange(n_rows) == n_rows - 1,
        **options,
    )


def continuous_dataset(n_rows: int = 8, observation_size: int = 2, action_size: int = 1) -> MDPDataset:
    """Makes one episode of seeded observations, actions in (-1, 1) and rewards, ended by the MDP."""
    rng = np.random.default_rng(0)
    return MDPDataset(
        rng.normal(size=(n_rows, observation_size)).astype(np.float32),
        rng.uniform(-0.9, 0.9, (n_rows, action_size)).astype(np.float32),
        rng.normal(size=n_rows).astype(np.float32),
        np.arange(n_rows) == n_rows - 1,
    )


def chain_dataset(missing: Sequence[tuple[int, int]] = ()) -> MDPDataset:
    """Makes each step of a chain of 5 one-hot states once, but for the missing (state, action) pairs.

    Action 0 goes left (and stays at state 0), action 1 goes right; right of state 4 pays 1 and ends.
    """
    steps = [(s, a) for s in range(5) for a in range(2) if (s, a) not in missing]
    states, actions = np.array(steps).T
    ends = (states == 4) & (actions == 1)
    states_after = np.clip(states + 2 * actions - 1, 0, 4)
    observations = np.eye(5, dtype=np.float32)
    return MDPDataset(
        observations[states],
        actions,
        ends.astype(np.float32),
        ends,
        np.ones(len(steps), dtype=bool),
        next_observations=observations[states_after],
    )


def chain_values(gamma: float) -> Tensor:
    """Returns the exact optimal Q [5, 2]: right gamma**(4 - s), left gamma times what right then earns."""
    right = gamma ** torch.arange(4.0, -1.0, -1.0)
    left = gamma * torch.cat([right[:1], right[:-1]])
    return torch.stack([left, right], 1)

"""Minibatches of transitions: columns on the device once, a batch is a gather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.normalizers import Scaling
from offlinekit.errors import DatasetError
from offlinekit.types import Array, Batch, map_tree


@dataclass(frozen=True)
class NStep:
    """What n-step transitions need, a row each: [N] arrays.

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

    Where a recording stopped without its final observation, the last step cannot be bootstrapped from: the
    steps before it look ahead to the last recorded observation, and the row itself takes 0 steps.

    Args:
        dataset: N rows in E episodes.
        rewards: [N], scaled.
        gamma: Discount factor of one step.
        n_step: Largest number of steps, >= 1.
    """
    n_rows = len(rewards)
    episode = np.repeat(np.arange(dataset.n_episodes), dataset.episode_lengths())
    ends = dataset.episode_ends[episode]
    terminal = dataset.terminals[ends - 1]
    reachable = ends - np.where(terminal | dataset.final_known[episode], 0, 1)
    row = np.arange(n_rows)
    steps = np.minimum(n_step, reachable - row)
    total = np.zeros(n_rows, np.float64)
    for k in range(n_step):
        ahead = np.minimum(row + k, n_rows - 1)
        total += np.where(k < steps, gamma**k * rewards[ahead], 0.0)
    arrived = row + steps
    discounts = np.where(terminal & (arrived == ends), 0.0, gamma**steps)
    next_rows = np.where(arrived < ends, arrived, n_rows + episode)
    return NStep(total, discounts, next_rows, steps)


def returns_to_go(dataset: MDPDataset, rewards: Array, gamma: float) -> Array:
    """Returns the discounted sum of rewards from each row to the end of its episode, [N] float64."""
    totals = rewards.astype(np.float64)
    left = np.repeat(dataset.episode_ends, dataset.episode_lengths()) - np.arange(len(rewards))
    reach = 1  # totals[i] holds the sum over the next `reach` rewards; each pass doubles it.
    while reach < left.max():
        totals[:-reach] += np.where(left[:-reach] > reach, gamma**reach * totals[reach:], 0.0)
        reach *= 2
    return totals


class TransitionSampler:
    """Draws uniform minibatches of n-step transitions with replacement.

    Args:
        dataset: What to learn from.
        batch_size: B.
        gamma: Discount factor.
        n_step: Steps joined into one transition.
        device: Where the columns and batches live.
        seed: Of the sampler's own generator.
        scaling: Applied to the columns once.
        needs_next: Whether rows without a next observation are left out.

    Raises:
        DatasetError: Where no row can be sampled, or n > 1 steps are asked of unordered transitions.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        batch_size: int,
        gamma: float,
        n_step: int,
        device: torch.device,
        seed: int,
        scaling: Scaling,
        needs_next: bool = True,
    ) -> None:
        self.batch_size, self.device = batch_size, device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        rewards = dataset.rewards if scaling.reward is None else scaling.reward.transform(dataset.rewards)
        ordered = dataset.next_observations is None
        if n_step > 1 and not ordered:
            raise DatasetError(
                f"n_step={n_step} needs rows in temporal order, but this dataset holds unordered transitions "
                "(next_observations differ from the following rows); use n_step=1"
            )
        transitions = (
            n_step_transitions(dataset, rewards, gamma, n_step) if ordered else _single(dataset, gamma)
        )
        later = (
            dataset.next_observations if dataset.next_observations is not None else dataset.final_observations
        )
        table = map_tree(lambda now, then: np.concatenate([now, then]), dataset.observations, later)
        self.observations = map_tree(self._place, scaling.observations(table))
        self.actions = self._place(_scaled_actions(dataset, scaling))
        self.next_rows = self._place(transitions.next_rows)
        columns = [transitions.rewards, transitions.discounts, returns_to_go(dataset, rewards, gamma)]
        self.columns = self._place(np.stack(columns, 1).astype(np.float32))
        self.masks = None if dataset.masks is None else self._place(dataset.masks.astype(np.float32))
        usable = np.flatnonzero(transitions.steps > 0) if needs_next else np.arange(len(rewards))
        if not len(usable):
            raise DatasetError(
                "no row has a next observation to learn from; give next_observations or terminals"
            )
        self.usable = None if len(usable) == len(rewards) else self._place(usable)
        self.n_usable = len(usable)

    def _place(self, column: Array) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(column)).to(self.device)

    def sample(self) -> Batch:
        """Draws the next minibatch."""
        shape = (self.batch_size,)
        index = torch.randint(self.n_usable, shape, generator=self.generator, device=self.device)
        return self.gather(index if self.usable is None else self.usable[index])

    def gather(self, index: Tensor) -> Batch:
        """Returns the transitions of the given rows [B]."""
        following = self.next_rows[index]
        both = torch.cat([index, following])
        pairs = map_tree(lambda table: table.index_select(0, both).split(len(index)), self.observations)
        n_rows = len(self.actions) - 1
        rewards, discounts, returns = self.columns[index].unbind(1)
        return Batch(
            observations=map_tree(lambda _, pair: pair[0], self.observations, pairs),
            actions=self.actions[index],
            rewards=rewards,
            next_observations=map_tree(lambda _, pair: pair[1], self.observations, pairs),
            next_actions=self.actions[following.clamp(max=n_rows)],
            discounts=discounts,
            returns=returns,
            masks=None if self.masks is None else self.masks[index].T,
        )

    def state(self) -> Tensor:
        """Returns the state of the generator as bytes."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Goes on from a state that `state` returned."""
        self.generator.set_state(state.cpu())


def _single(dataset: MDPDataset, gamma: float) -> NStep:
    row = np.arange(len(dataset))
    discounts = np.where(dataset.terminals, 0.0, gamma)
    return NStep(dataset.rewards, discounts, len(dataset) + row, np.ones(len(dataset), np.int64))


def _scaled_actions(dataset: MDPDataset, scaling: Scaling) -> Array:
    """Returns the actions with one row of zeros behind them: the action after an episode's end."""
    actions = dataset.actions if scaling.action is None else scaling.action.transform(dataset.actions)
    return np.concatenate([actions, np.zeros_like(actions[:1])])

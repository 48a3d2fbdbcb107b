"""Minibatches of recorded and new rows, of which those that look like new ones are drawn more often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offlinekit.nn.isolation import initialised
from offlinekit.nn.random import Random, derive
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.replay.tree_replay import TreeReplay
from offlinekit.training.online.density_ratio import DensityRatio, density_ratio_loss
from offlinekit.training.optimizers import make_optimizer

if TYPE_CHECKING:
    from gymnasium import spaces

FIRST_ROWS = 1_000
"""New rows that are drawn with the share asked for before the density ratio is known of any."""
LEARNING_RATE, FLATTENING = 3e-4, 5.0
BOUNDS = (1e-3, 1e3)


class BalancedReplay(TreeReplay):
    """Draws rows with probabilities proportional to w(s, a)^(1/5), w the density ratio of new to recorded rows.

    Each minibatch also trains the ratio, on as many rows of either kind drawn uniformly, and gives its own rows their
    priorities anew: w^(1/5) over its mean over recorded rows, in [1e-3, 1e3]. Before, recorded rows have priority 1 and
    new ones that with which the first 1,000 of them make up a share of all draws.
    Source: Lee et al. 2021, arXiv:2107.00591, section 4.1, and its code.

    Args:
        memory: Holds recorded rows and new ones.
        observation_space: Of the data.
        action_space: Likewise.
        first_share: Of the first 1,000 new rows in minibatches, in (0, 1).
        seed: Of the algorithm.
        device: Where the rows lie.
    """

    def __init__(
        self,
        memory: ReplayMemory,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box | spaces.Discrete,
        first_share: float,
        seed: int,
        device: torch.device,
    ) -> None:
        with initialised(derive(seed, "density ratio")):
            random = Random(derive(seed, "balanced replay"), device)
            self.ratio = DensityRatio(observation_space, action_space, random).to(device)
        super().__init__(memory, first_priority(memory.n_kept, first_share), random.generator)
        self.parameters = list(self.ratio.parameters())
        self.optimizer = make_optimizer("adam", [(self.parameters, 0.0)], LEARNING_RATE)

    def sample(self) -> Batch:
        """Draws the next minibatch; trains the ratio."""
        drawn = self.draw()
        batch = self.memory.gather(drawn)
        if self.memory.n_added:
            self._learn(batch, drawn)
        return batch

    def _learn(self, batch: Batch, drawn: Tensor) -> None:
        """Takes a step of the ratio, and gives drawn rows the priorities that it had before."""
        n_new = self.memory.n_usable - self.memory.n_kept
        recorded = self._uniform(self.memory.n_kept, 0)
        new = self._uniform(n_new, self.memory.n_kept)
        with torch.enable_grad():
            ratios = self.ratio(recorded.observations, recorded.actions)
            loss = density_ratio_loss(ratios, self.ratio(new.observations, new.actions))
            gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            priorities = self.ratio(batch.observations, batch.actions) ** (1.0 / FLATTENING)
            usual = (ratios ** (1.0 / FLATTENING)).mean() + 1e-10
            self.tree.write(drawn, (priorities / usual).clamp(*BOUNDS))
        self.optimizer.step(gradients)

    def _uniform(self, n: int, first: int) -> Batch:
        """Returns a minibatch drawn uniformly from n rows, from the one at place `first` on."""
        index = torch.randint(n, (self.batch_size,), generator=self.generator, device=self.generator.device)
        return self.memory.gather(index + first)

    def _learned(self) -> list[Tensor]:
        """Returns the numbers of the ratio and of its optimizer."""
        return [*self.parameters, *self.optimizer.state_tensors().values()]


def first_priority(n_recorded: int, share: float) -> float:
    """Returns the priority with which 1,000 rows make up a share of all draws, beside recorded ones of priority 1."""
    return n_recorded * share / ((1.0 - share) * FIRST_ROWS)

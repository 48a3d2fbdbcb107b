"""MOReL: rollouts halt where the model does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.dynamics_impl import Imagined
from offlinekit.algos.torch.sacn_impl import SACNImpl
from offlinekit.core.bases.model_based import ModelBasedImpl
from offlinekit.nn import losses
from offlinekit.sampling.sampler import TransitionSampler

if TYPE_CHECKING:
    from offlinekit.algos.morel import MOReL

ROWS_AT_ONCE = 1 << 16


class MOReLImpl(ModelBasedImpl, SACNImpl):
    """The losses of SAC-N; unknown steps end with a reward and bootstrap nothing; arXiv:2005.05951, definition 1."""

    config: MOReL
    largest_known: Tensor
    lowest_reward: Tensor

    def build(self) -> None:
        """Makes the networks, and what is learned of the model and the data: disagreement and lowest reward."""
        super().build()
        self.register_buffer("largest_known", torch.tensor(torch.inf))
        self.register_buffer("lowest_reward", torch.tensor(0.0))

    @torch.no_grad()
    def learn_model(self, recorded: TransitionSampler) -> None:
        """Records the largest disagreement of elites on the data's steps, and the lowest reward, scaled."""
        extremes = []
        for rows in torch.split(recorded.usable_rows(), ROWS_AT_ONCE):
            batch = recorded.gather(rows)
            means = self.model.outcomes(batch.observations, batch.actions, members=self.model.n_elites).means
            extremes.append(torch.stack([disagreement(means).amax(), -batch.rewards.amin()]))
        largest, lowest = torch.stack(extremes).amax(0)
        self.largest_known.copy_(largest)
        self.lowest_reward.copy_(-lowest)

    @property
    def n_predictions(self) -> int:
        """How many members are read: the elites."""
        return int(self.model.n_elites)

    def outcome(self, step: Imagined) -> tuple[Tensor, Tensor]:
        """Returns rewards and ends, which an unknown step has both of its own."""
        assert step.outcomes is not None  # For the type checker: `n_predictions` is not 0.
        unknown = disagreement(step.outcomes.means) > self.config.threshold_scale * self.largest_known
        halted = self.lowest_reward + self.config.halt_offset
        return torch.where(unknown, halted, step.rewards), step.ends | unknown


def disagreement(means: Tensor) -> Tensor:
    """Returns the largest distance between two members' next observations, [B], of means [K, B, D + 1]."""
    return losses.largest_distance(means[..., :-1])

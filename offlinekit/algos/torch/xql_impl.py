"""Extreme Q-learning: implicit Q-learning with Gumbel regression of the value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.xql import XQL


class XQLImpl(IQLImpl):
    """V(s) = temperature log E_data exp(Q(s, a) / temperature) by regression; arXiv:2301.02328, algorithm 1."""

    config: XQL  # type: ignore[assignment]  # It has what IQL's losses read.

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the value, as often as the front says, the actor and the critics."""
        value, *others = super().build_objectives()
        return [value] * self.config.n_value_updates + others

    @torch.no_grad()
    def values_to_match(self, batch: Batch) -> Tensor:
        """Returns min_k Q_target_k(s, a) [1 + n, B] of the data's actions, with noise if set, and n uniform ones."""
        config, actions = self.config, batch.actions
        if not config.action_noise and not config.n_random_actions:
            return self.data_values(batch)[None]
        if config.action_noise:
            noise = (config.action_noise * self.random.normal(*actions.shape)).clamp(-0.5, 0.5)
            actions = (actions + noise).clamp(-1.0, 1.0)
        uniform = self.random.uniform(config.n_random_actions, *actions.shape, low=-1.0, high=1.0)
        values: Tensor = self.target_q.values(batch.observations, torch.cat([actions[None], uniform]))
        return values.amin(0)

    def compute_value_loss(self, batch: Batch) -> Loss:
        """Returns the Gumbel loss of V(s) towards Q_target(s, a), eq. (11), its mean over actions of a row."""
        values = self.value(batch.observations).squeeze(-1)
        errors = self.values_to_match(batch) - values
        loss = losses.gumbel_loss(errors, self.config.temperature, self.config.max_exponent)  # [1 + n, B]
        return loss.mean(0), {"value": values.detach()}

"""Implicit Q-learning for discrete actions: expectile value, critics, weighted cloning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.iql_impl import ImplicitValues
from offlinekit.core.bases.q_learning import DiscreteActorCriticImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Objective

if TYPE_CHECKING:
    from offlinekit.algos.discrete_iql import DiscreteIQL


class DiscreteIQLImpl(ImplicitValues, DiscreteActorCriticImpl):
    """Values by expectile regression on the data's actions; arXiv:2110.06169, algorithm 1.

    Order: value, actor, critics; the actor and the critics see the value just updated.
    """

    config: DiscreteIQL

    def build(self) -> None:
        """Makes the critics, the policy and the state value."""
        super().build()
        self.value = self.make_network(1)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the value, the actor and the critics."""
        rate = self.config.value_learning_rate
        value = self.objective("value", self.compute_value_loss, [self.value], rate)
        critic, actor = super().build_objectives()
        return [value, actor, critic]

    @torch.no_grad()
    def data_values(self, batch: Batch) -> Tensor:
        """Returns min_k Q_target_k(s, a) of the data's actions [B], without gradient."""
        values = self.target_q.values(batch.observations)
        return self.parts.select(values, batch.actions).amin(0)

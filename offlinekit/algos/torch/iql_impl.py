"""Implicit Q-learning: expectile value, critics, weighted cloning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.implicit_impl import ImplicitValues
from offlinekit.nn.encoders import MLPEncoder, resolve_encoder
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Objective

if TYPE_CHECKING:
    from offlinekit.algos.iql import IQL


class IQLImpl(ImplicitValues, ActorCriticImpl):
    """Values by expectile regression on the data's actions; arXiv:2110.06169, algorithm 1.

    Order: value, actor, critics; the actor and the critics see the value just updated.
    """

    config: IQL
    policy: GaussianPolicy

    def build(self) -> None:
        """Makes the critics, the policy and the state value."""
        super().build()
        self.value = self.make_network(1, encoder=self.value_encoder())

    def value_encoder(self) -> MLPEncoder:
        """Returns what sees the observation in the state value: the critics' unless the front says otherwise."""
        chosen = getattr(self.config, "value_encoder", None)
        return self.critic_encoder() if chosen is None else resolve_encoder(chosen, self.observation_space)

    def build_policy(self) -> GaussianPolicy:
        """Makes the Gaussian policy with one standard deviation an action dimension."""
        return GaussianPolicy(self.make_network(self.action_size), self.random, self.action_size)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the value, the actor and the critics."""
        rate = self.config.value_learning_rate
        value = self.objective("value", self.compute_value_loss, [self.value], rate)
        return [value, self.actor_objective(), self.critic_objective()]

    @torch.no_grad()
    def data_values(self, batch: Batch) -> Tensor:
        """Returns min_k Q_target_k(s, a) of the data's actions [B], without gradient."""
        values: Tensor = self.target_q.values(batch.observations, batch.actions)
        return values.amin(0)

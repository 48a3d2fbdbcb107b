"""Implicit Q-learning: expectile value, critics, weighted cloning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.encoders import MLPEncoder, resolve_encoder
from offlinekit.nn.networks import QFunction
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.iql import IQL


class ImplicitValues:
    """Put before an implementation with a state `value`, gives it the losses of arXiv:2110.06169, algorithm 1."""

    config: Any
    policy: Any
    q: QFunction
    value: Any

    def data_values(self, batch: Batch) -> Tensor:
        """Returns min_k Q_target_k(s, a) of the data's actions [B], without gradient."""
        raise UnsupportedError(f"{type(self).__name__} must define data_values()")

    def compute_value_loss(self, batch: Batch) -> Loss:
        """Returns the expectile loss of V(s) towards Q_target(s, a), eq. (5)."""
        values = self.value(batch.observations).squeeze(-1)
        errors = self.data_values(batch) - values
        return losses.expectile_loss(errors, self.config.expectile), {"value": values.detach()}

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma V(s'), eq. (6); [B], or [1, B] as one sample for quantiles."""
        target: Tensor = batch.rewards + batch.discounts * self.value(batch.next_observations).squeeze(-1)
        return self.q.as_target(target)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -exp(beta (Q_target - V)) log pi(a|s) of each row, the weight bounded, eq. (7)."""
        advantages = self.data_values(batch) - self.value(batch.observations).squeeze(-1).detach()
        weights = losses.exponential_weights(advantages, self.config.beta, self.config.max_weight)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"advantage": advantages, "weight": weights}


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

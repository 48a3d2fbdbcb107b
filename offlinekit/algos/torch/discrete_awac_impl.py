"""Advantage-weighted actor-critic for discrete actions: cloning by weight."""

from __future__ import annotations

from offlinekit.algos.torch import functional
from offlinekit.algos.torch.discrete_actor_critic import DiscreteActorCriticImpl
from offlinekit.algos.torch.objectives import Loss
from offlinekit.types import Batch


class DiscreteAWACImpl(DiscreteActorCriticImpl):
    """The policy clones the data's actions by exp(beta A); arXiv:2006.09359, algorithm 1. Order: critics, actor."""

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the mean of exp(beta A(s, a)) log pi(a|s), the weight bounded, eq. (13)."""
        advantages = self.advantages(batch)
        weights = functional.exponential_weights(advantages, self.config.beta, self.config.max_weight)
        loss = -(weights * self.policy.log_prob(batch.observations, batch.actions)).mean()
        return loss, {"advantage": advantages.mean(), "weight": weights.mean()}

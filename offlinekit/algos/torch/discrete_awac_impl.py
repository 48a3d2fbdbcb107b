"""Advantage-weighted actor-critic for discrete actions: cloning by weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.core.bases.q_learning import DiscreteActorCriticImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.discrete_awac import DiscreteAWAC


class DiscreteAWACImpl(DiscreteActorCriticImpl):
    """The policy clones the data's actions by exp(A / temperature); arXiv:2006.09359, algorithm 1.

    Order: critics, actor.
    """

    config: DiscreteAWAC

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -exp(A(s, a) / temperature) log pi(a|s) of each row, the weight bounded, eq. (13)."""
        advantages = self.advantages(batch)
        inverse = 1.0 / self.config.temperature
        weights = losses.exponential_weights(advantages, inverse, self.config.max_weight)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"advantage": advantages, "weight": weights}

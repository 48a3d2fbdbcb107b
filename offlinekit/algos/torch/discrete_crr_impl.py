"""Critic-regularised regression for discrete actions: filtered cloning, and a conservative term if set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.core.bases.q_learning import DiscreteActorCriticImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.discrete_crr import DiscreteCRR


class DiscreteCRRImpl(DiscreteActorCriticImpl):
    """The policy clones the data's actions by f(A); arXiv:2006.15134, algorithm 1. Order: critics, actor."""

    config: DiscreteCRR

    def build(self) -> None:
        """Makes critics, the policy and their targets."""
        super().build()
        self.target_policy = self.make_target(self.policy, "tau", "target_update_interval")

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma sum_a pi_target(a|s') min_k Q_target_k(s', a), eq. (1); [B] or [N, B]."""
        log_probs = self.target_policy(batch.next_observations)
        values = self.lowest_outputs(self.target_q(batch.next_observations))
        return batch.rewards + batch.discounts * losses.expectation(log_probs, values)

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss plus alpha times the conservative gap of discrete CQL."""
        return self.conservative_critic_loss(batch, q_tpn, self.config.alpha)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -f(A(s, a)) log pi(a|s) of each row, eq. (2) to (4)."""
        advantages = self.advantages(batch)
        weights = self.weights(advantages)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"advantage": advantages, "weight": weights}

    def weights(self, advantages: Tensor) -> Tensor:
        """Returns f(A) [B]: 1 if the advantage is positive, or its bounded exponential."""
        if self.config.weight == "binary":
            return (advantages > 0).to(advantages.dtype)
        return losses.exponential_weights(advantages, 1.0 / self.config.temperature, self.config.max_weight)

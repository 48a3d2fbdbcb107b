"""Soft actor-critic for discrete actions: expectations over all actions in place of samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.core.bases.q_learning import DiscreteActorCriticImpl
from offlinekit.envs.legal_actions import has_legal_actions
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.discrete_sac import DiscreteSAC


class DiscreteSACImpl(DiscreteActorCriticImpl):
    """V(s) = pi(s)^T [Q(s) - temperature log pi(s)]; arXiv:1910.07207. Order: temperature, actor, critics."""

    config: DiscreteSAC

    def build(self) -> None:
        """Makes the critics, the policy and the log temperature."""
        super().build()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.config.initial_temperature)))

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the temperature, the actor and the critics."""
        rate = self.config.temperature_learning_rate
        temperature = self.objective(
            "temperature", self.compute_temperature_loss, [self.log_temperature], rate
        )
        critic, actor = super().build_objectives()
        return [temperature, actor, critic]

    def compute_temperature_loss(self, batch: Batch) -> Loss:
        """Returns pi(s)^T [-temperature (log pi(s) + target entropy)], eq. (11)."""
        with torch.no_grad():
            log_probs = self.policy(batch.observations)
            expected = losses.expectation(log_probs, log_probs)  # [B]
        loss = losses.temperature_loss(self.log_temperature, expected, self.target_entropy(log_probs))
        return loss, {"temperature": self.log_temperature.detach().exp(), "entropy": -expected}

    def target_entropy(self, log_probs: Tensor) -> float | Tensor:
        """Returns what is configured, or 0.98 times the largest entropy, of legal actions [B] if the data have such."""
        configured = self.config.target_entropy
        if configured is not None:
            return configured
        if has_legal_actions(self.observation_space):
            return 0.98 * self.parts.total(_largest_entropy, log_probs)
        return 0.98 * sum(map(math.log, self.parts.sizes))

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma pi(s')^T [min_k Q_target_k(s') - temperature log pi(s')], eq. (10)."""
        log_probs = self.policy(batch.next_observations)
        values = self.lowest_outputs(self.target_q(batch.next_observations))
        values = values - self.log_temperature.exp() * log_probs
        return batch.rewards + batch.discounts * losses.expectation(log_probs, values)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns pi(s)^T [temperature log pi(s) - min_k Q_k(s)] of each row, eq. (12)."""
        with torch.no_grad():
            values = self.q.values(batch.observations).amin(0)
        log_probs = self.policy(batch.observations)
        costs = self.log_temperature.detach().exp() * log_probs - values  # [B, A]
        return losses.expectation(log_probs, costs)


def _largest_entropy(log_probs: Tensor) -> Tensor:
    """Returns the entropy [B] of the uniform choice among legal actions."""
    return losses.are_legal(log_probs).sum(-1).log()

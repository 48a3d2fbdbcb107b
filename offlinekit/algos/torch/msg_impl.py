"""MSG: an ensemble of independent critics, whose spread is the policy's caution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.nn import losses
from offlinekit.nn.rows import bootstrapped
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.msg import MSG


class MSGImpl(SACImpl):
    """Targets of each critic's own, an actor on mean - pessimism * std; arXiv:2205.13703.

    Order: critics, policy, temperature. For `warmup_steps` updates the policy clones the data instead.
    """

    config: MSG

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the critics, the cloning policy, the actor and the temperature."""
        config, steps = self.config, self.config.warmup_steps
        cloning = self.objective(
            "cloning",
            self.compute_cloning_loss,
            [self.policy],
            config.actor_learning_rate,
            schedule=config.actor_lr_schedule,
            last=steps,
        )
        late = [self.actor_objective(first=steps + 1), self.temperature_objective(first=steps + 1)]
        return [self.critic_objective(), cloning, *late]

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma Q_target_k(s', a') of each critic k, [K, B] or [K, N, B]: no minimum is taken."""
        actions, _ = self.policy.sample(batch.next_observations)
        target: Tensor = batch.rewards + batch.discounts * self.target_q(batch.next_observations, actions)
        return target

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference losses plus alpha times the gap between policy and data, if set."""
        outputs = self.q(batch.observations, batch.actions)
        loss = self.q.loss(outputs, q_tpn, batch.masks)
        if self.config.alpha is None:
            return loss
        with torch.no_grad():
            actions, _ = self.policy.sample(batch.observations)
        gaps = self.q.values(batch.observations, actions) - self.q.expected(outputs)  # [K, B]
        gap = bootstrapped(gaps, batch.masks)
        return loss + self.config.alpha * gap, {"td_loss": loss.detach(), "support_gap": gap.detach()}

    def compute_cloning_loss(self, batch: Batch) -> Loss:
        """Returns minus the log-density of the data's actions."""
        return -self.policy.log_prob(batch.observations, batch.actions)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns temperature log pi(a|s) - (mean_k Q_k(s, a) - pessimism * std_k Q_k(s, a)) of each row."""
        actions, log_probs = self.policy.sample(batch.observations)
        values = self.q.values(batch.observations, actions)
        bound = losses.lower_confidence_bound(values, self.config.pessimism)
        return self.log_temperature.detach().exp() * log_probs - bound

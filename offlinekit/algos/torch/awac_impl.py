"""Advantage-weighted actor-critic: targets and weighted cloning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.nn import losses
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.awac import AWAC


class AWACImpl(ActorCriticImpl):
    """Critics of the policy, a policy cloned with weights exp(A / temperature); arXiv:2006.09359, algorithm 1."""

    config: AWAC
    policy: GaussianPolicy

    def build_policy(self) -> GaussianPolicy:
        """Makes the Gaussian policy with one standard deviation an action dimension."""
        config, size = self.config, self.action_size
        return GaussianPolicy(
            self.make_network(size), self.random, size, (config.log_std_min, 2.0), squash=config.squash_mean
        )

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_target_k(s', a'), a' drawn from the policy."""
        actions, _ = self.policy.sample(batch.next_observations)
        outputs = self.target_q(batch.next_observations, actions)
        return batch.rewards + batch.discounts * self.q.lowest(outputs)

    @torch.no_grad()
    def advantages(self, batch: Batch) -> Tensor:
        """Returns min_k Q_k(s, a) less its mean over actions of the policy [B], without gradient."""
        actions, _ = self.policy.sample(batch.observations, self.config.n_actions)  # [M, B, A]
        values = self.q.values(batch.observations, actions).amin(0).mean(0)
        advantages: Tensor = self.q.values(batch.observations, batch.actions).amin(0) - values
        return advantages

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -exp(A / temperature) log pi(a|s) of each row, the weight bounded, eq. (13)."""
        advantages = self.advantages(batch)
        weights = losses.exponential_weights(
            advantages, 1.0 / self.config.temperature, self.config.max_weight
        )
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"advantage": advantages, "weight": weights}

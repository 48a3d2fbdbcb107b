"""Critic-regularised regression: targets, advantages and filtered cloning."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.nn import losses
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.crr import CRR


class CRRImpl(ActorCriticImpl):
    """A policy cloned with weights f(A) of the critic; arXiv:2006.15134, algorithm 1."""

    config: CRR
    target_policy_too: ClassVar[bool] = True
    policy: GaussianPolicy
    target_policy: GaussianPolicy

    def build_policy(self) -> GaussianPolicy:
        """Makes the Gaussian policy with one standard deviation an action dimension."""
        return GaussianPolicy(self.make_network(self.action_size), self.random, self.action_size)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_target_k(s', a'), a' drawn from the target policy."""
        actions, _ = self.target_policy.sample(batch.next_observations)
        outputs = self.target_q(batch.next_observations, actions)
        return batch.rewards + batch.discounts * self.q.lowest(outputs)

    def policy_values(self, observations: TensorTree) -> tuple[Tensor, Tensor]:
        """Draws M actions of the policy [M, B, A] and returns them with their values [M, B]."""
        actions, _ = self.policy.sample(observations, self.config.n_actions)
        return actions, self.q.values(observations, actions).amin(0)

    @torch.no_grad()
    def advantages(self, batch: Batch) -> Tensor:
        """Returns Q(s, a) less the mean or the best value of the policy's actions [B], without gradient."""
        _, values = self.policy_values(batch.observations)
        baseline = values.mean(0) if self.config.advantage == "mean" else values.amax(0)
        advantages: Tensor = self.q.values(batch.observations, batch.actions).amin(0) - baseline
        return advantages

    def weights(self, advantages: Tensor) -> Tensor:
        """Returns f(A) [B]: 1[A > 0], or exp(A / temperature) bounded."""
        config = self.config
        if config.weight == "binary":
            return (advantages > 0).float()
        return losses.exponential_weights(advantages, 1.0 / config.temperature, config.max_weight)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -f(A) log pi(a|s) of each row."""
        advantages = self.advantages(batch)
        weights = self.weights(advantages)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"advantage": advantages, "weight": weights}

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns one of M actions of the policy, drawn by softmax(Q / temperature): the critic-weighted policy."""
        actions, values = self.policy_values(observations)
        chosen = self.random.categorical(values.T / self.config.temperature)
        return losses.select_samples(actions, chosen)

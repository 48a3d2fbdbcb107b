"""InAC: the in-sample softmax of the values, with the behaviour's density divided out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.nn import losses
from offlinekit.nn.policies import GaussianPolicy
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.in_ac import InAC


class InACImpl(ActorCriticImpl):
    """The policy tends to exp(Q / temperature) on the data's support; arXiv:2302.14372, algorithm 1.

    Order: behaviour, value, critics, actor.
    """

    config: InAC
    policy: GaussianPolicy

    def build(self) -> None:
        """Makes the critics, the policy, the state value and the behaviour model."""
        super().build()
        self.value = self.make_network(1, encoder=self.config.critic_encoder)
        self.behaviour = self.build_policy()

    def build_policy(self) -> GaussianPolicy:
        """Makes a Gaussian policy with one standard deviation an action dimension."""
        config, size = self.config, self.action_size
        sigmoid = config.log_std == "sigmoid"
        bounds = (-6.0, 0.0) if sigmoid else (-5.0, 2.0)
        return GaussianPolicy(
            self.make_network(size), self.random, size, bounds, clip=config.clip_actions, sigmoid=sigmoid
        )

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A] drawn from the policy, clipped to [-1, 1]."""
        return super().sample_action(observations).clamp(-1.0, 1.0)

    def sampled_log_prob(self, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
        """Returns the log-probabilities [B] of drawn actions, which are clipped here in any case."""
        return self.policy.clipped_log_prob(observations, actions, log_scale)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the behaviour model, the value, the critics and the actor."""
        config = self.config
        rate = config.behaviour_learning_rate
        behaviour = self.objective("behaviour", self.compute_behaviour_loss, [self.behaviour], rate)
        value = self.objective("value", self.compute_value_loss, [self.value], config.value_learning_rate)
        return [behaviour, value, self.critic_objective(), self.actor_objective()]

    def compute_behaviour_loss(self, batch: Batch) -> Loss:
        """Returns the negative log-likelihood of the data's actions."""
        return -self.behaviour.log_prob(batch.observations, batch.actions)

    @torch.no_grad()
    def soft_values(self, batch: Batch) -> Tensor:
        """Returns min_k Q_k(s, a) - temperature log pi(a|s), a ~ pi, [B], Q online or the target, no gradient."""
        actions, log_probs = self.policy.sample(batch.observations)
        q = self.target_q if self.config.value_critics == "target" else self.q
        values = q.values(batch.observations, actions).amin(0)
        soft: Tensor = values - self.config.temperature * log_probs
        return soft

    def compute_value_loss(self, batch: Batch) -> Loss:
        """Returns the squared error of V(s) towards the soft value of the policy, eq. (12)."""
        values = self.value(batch.observations).squeeze(-1)
        return (values - self.soft_values(batch)).square(), {"value": values.detach()}

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma (min_k Q_target_k(s', a') - temperature log pi(a'|s')), [B] or [N, B], eq. (13)."""
        actions, log_probs = self.policy.sample(batch.next_observations)
        values = self.q.lowest(self.target_q(batch.next_observations, actions))
        soft: Tensor = values - self.config.temperature * log_probs
        return batch.rewards + batch.discounts * soft

    @torch.no_grad()
    def weights(self, batch: Batch) -> Tensor:
        """Returns min(exp((Q(s, a) - V(s)) / temperature) / behaviour(a|s), max_weight), [B], without gradient."""
        values = self.q.values(batch.observations, batch.actions).amin(0)
        advantages = (values - self.value(batch.observations).squeeze(-1)) / self.config.temperature
        exponents = advantages - self.behaviour.log_prob(batch.observations, batch.actions)
        return losses.exponential_weights(exponents, 1.0, self.config.max_weight)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the weight times log pi(a|s) of each row, eq. (11)."""
        weights = self.weights(batch)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"weight": weights}

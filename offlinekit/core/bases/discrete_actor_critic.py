"""Base of actor-critics for discrete actions: front and implementation."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from offlinekit.core.bases.q_learning import QLearning, QLearningImpl
from offlinekit.core.hyperparameters import Count, Positive
from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.policies import CategoricalPolicy
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective


class DiscreteActorCritic(QLearning):
    """Discrete actions: a categorical policy and an ensemble of critics."""

    actor_learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    n_critics: Annotated[Count, "Critics in the ensemble; the lowest counts."] = 2
    target_update_interval = 1
    tau = 0.005
    td_loss = "mse"


class DiscreteActorCriticImpl(QLearningImpl):
    """Discrete actions: critics `q` with a target, a categorical `policy`, and a loss for each."""

    config: DiscreteActorCritic

    def build(self) -> None:
        """Makes critics, their target and the policy."""
        super().build()
        self.policy = CategoricalPolicy(self.make_network(self.n_actions), self.random)

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss, then the actor's."""
        return [*super().build_objectives(), self.actor_objective()]

    def actor_objective(self) -> Objective:
        """Declares the actor's loss."""
        rate = self.config.actor_learning_rate
        return self.objective("actor", self.compute_actor_loss, [self.policy], rate)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma sum_a pi(a|s') min_k Q_target_k(s', a), [B] or [N, B]."""
        log_probs = self.policy(batch.next_observations)
        values = self.lowest_outputs(self.target_q(batch.next_observations))
        return batch.rewards + batch.discounts * losses.expectation(log_probs, values)

    def lowest_outputs(self, outputs: Tensor) -> Tensor:
        """Reduces [K, B, A] or [K, N, B, A] to the most pessimistic member of each row and action."""
        lowest = self.q.lowest(outputs.flatten(-2))
        return lowest.reshape(*lowest.shape[:-1], outputs.shape[-2], self.n_actions)

    @torch.no_grad()
    def advantages(self, batch: Batch) -> Tensor:
        """Returns Q(s, a) - sum_b pi(b|s) Q(s, b) of the data's actions [B], Q = min_k Q_k, without gradient."""
        values = self.q.values(batch.observations).amin(0)  # [B, A]
        mean = losses.expectation(self.policy(batch.observations), values)
        return losses.select_actions(values, batch.actions) - mean

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the loss of the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_actor_loss()")

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the policy's likeliest actions [B]."""
        return self.policy.mode(observations)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B] drawn from the policy."""
        return self.policy.sample(observations)[0]

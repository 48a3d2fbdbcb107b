"""Flow Q-learning: a flow that clones, a one-step policy distilled from it that also seeks value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_flow
from offlinekit.nn import losses
from offlinekit.nn.flows import OneStepPolicy
from offlinekit.nn.random import fixed_normals
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.fql import FQL


class FQLImpl(ActorCriticImpl):
    """The flow models behaviour; the policy mu(s, z) stays near it and climbs Q; arXiv:2502.02538, algorithm 1.

    Order: critics, flow, actor; the actor sees the critics and the flow just updated.
    """

    config: FQL
    policy: OneStepPolicy
    noise: Tensor | None = None

    def build(self) -> None:
        """Makes the critics, the one-step policy and the flow."""
        super().build()
        self.flow = make_flow(self)

    def build_policy(self) -> OneStepPolicy:
        """Makes the policy that turns noise into an action in one step."""
        network = self.make_network(self.action_size, action_size=self.action_size)
        return OneStepPolicy(network, self.random, self.action_size)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the critics, the flow and the actor."""
        rate = self.config.actor_learning_rate
        schedule = self.config.actor_lr_schedule
        flow = self.objective("flow", self.compute_flow_loss, [self.flow], rate, schedule=schedule)
        return [self.critic_objective(), flow, self.actor_objective()]

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma Q_target(s', mu(s', z)), [B] or [N, B], Q the mean or the lowest of the critics."""
        outputs = self.target_q(batch.next_observations, self.policy.sample(batch.next_observations)[0])
        value = outputs.mean(0) if self.config.target_value == "mean" else self.q.lowest(outputs)
        return batch.rewards + batch.discounts * value

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best [B, A], by the critics, of N actions from noise that is always the same."""
        n_candidates = self.config.n_candidates
        if n_candidates is None:
            return super().predict_best_action(observations)
        if (
            self.noise is None or len(self.noise) != n_candidates
        ):  # Kept, as exported graphs hold no generator.
            self.noise = fixed_normals(n_candidates, self.action_size, self.device)
        noise = self.noise.unsqueeze(1).expand(-1, first_leaf(observations).shape[0], -1)
        candidates = self.policy(observations, noise).clamp(-1.0, 1.0)
        values = self.q.values(observations, candidates)
        values = values.mean(0) if self.config.target_value == "mean" else values.amin(0)
        return losses.best_actions(candidates, values)

    def compute_flow_loss(self, batch: Batch) -> Loss:
        """Returns the flow-matching loss of the data's actions."""
        return self.flow.loss(batch.observations, batch.actions)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns alpha (mu(s, z) - flow(s, z))^2 - Q(s, mu(s, z)), Q the mean of the critics."""
        noise = self.random.normal(*batch.actions.shape)
        with torch.no_grad():
            cloned = self.flow.transport(batch.observations, noise)
        actions = self.policy(batch.observations, noise)
        distillation = losses.squared_error(actions, cloned)
        values = self.q.values(batch.observations, actions.clamp(-1.0, 1.0)).mean(0)
        return self.config.alpha * distillation - values, {"distillation_loss": distillation.detach()}

"""Soft actor-critic: targets, losses and the temperature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.nn import losses
from offlinekit.nn.policies import SquashedGaussianPolicy
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.sac import SAC


class SACImpl(ActorCriticImpl):
    """Critics learn return plus entropy; arXiv:1812.05905. Order: temperature, actor, critics."""

    config: SAC
    policy: SquashedGaussianPolicy

    def build(self) -> None:
        """Makes the critics, the policy and the log temperature."""
        super().build()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(self.config.initial_temperature)))

    def build_policy(self) -> SquashedGaussianPolicy:
        """Makes the squashed Gaussian policy."""
        network = self.make_network(2 * self.action_size)
        return SquashedGaussianPolicy(network, self.random, (self.config.log_std_min, 2.0))

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the temperature, the actor and the critics."""
        temperature = self.temperature_objective()
        return [temperature, self.actor_objective(), self.critic_objective()]

    def temperature_objective(self, first: int = 1) -> Objective:
        """Declares the temperature's loss from an update on, delayed as the actor's is."""
        config = self.config
        return self.objective(
            "temperature",
            self.compute_temperature_loss,
            [self.log_temperature],
            config.temperature_learning_rate,
            every=getattr(config, "policy_delay", 1),
            first=first,
        )

    def log_probs_of_draws(self, batch: Batch) -> Tensor:
        """Returns log pi of actions drawn at the observations, [B]."""
        return self.policy.sample(batch.observations)[1]

    @property
    def usual_entropy(self) -> float:
        """The target entropy unless one is given: minus the action dimensions."""
        return -float(self.action_size)

    def compute_temperature_loss(self, batch: Batch) -> Loss:
        """Returns -temperature * (log pi + target entropy), eq. (18)."""
        with torch.no_grad():
            log_probs = self.log_probs_of_draws(batch)
        target = self.config.target_entropy
        target = self.usual_entropy if target is None else target
        loss = losses.temperature_loss(self.log_temperature, log_probs, target)
        return loss, {"temperature": self.log_temperature.detach().exp(), "entropy": -log_probs}

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma (min_k Q_target_k(s', a') - temperature log pi(a'|s')), eq. (2) and (3)."""
        actions, log_probs = self.policy.sample(batch.next_observations)
        values = self.q.lowest(self.target_q(batch.next_observations, actions))
        return batch.rewards + batch.discounts * (values - self.log_temperature.exp() * log_probs)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns temperature log pi(a|s) - min_k Q_k(s, a) of each row, eq. (9)."""
        actions, log_probs = self.policy.sample(batch.observations)
        values = self.q.values(batch.observations, actions).amin(0)
        return self.log_temperature.detach().exp() * log_probs - values

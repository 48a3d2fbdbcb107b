"""Diffusion Q-learning: a diffusion that clones and, through all its steps, climbs Q."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.bfn_impl import BestOf, BestOfImpl
from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_diffusion
from offlinekit.nn.diffusion import TimeFeatures
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.diffusion_ql import DiffusionQL


class DiffusionQLImpl(BestOfImpl, ActorCriticImpl):
    """The policy is a diffusion that clones and whose actions have high values; arXiv:2208.06193, algorithm 1."""

    config: DiffusionQL

    def build(self) -> None:
        """Makes the critics, the diffusion and its slow average, which acts in targets."""
        super().build()
        start = self.config.actor_target_start + 1
        self.target_policy = self.make_target(self.policy, "actor_tau", "actor_target_interval", start)

    def build_policy(self) -> BestOf:
        """Makes the diffusion and the choice among its actions."""
        frequencies = torch.exp(torch.arange(8.0) * (-math.log(10_000.0) / 7))
        diffusion = make_diffusion(self, TimeFeatures(frequencies, (32, 16)))
        return BestOf(diffusion, self.config.n_candidates)

    def action_values(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the lowest of the target critics' values [N, B] of actions [N, B, A]."""
        values: Tensor = self.target_q.values(observations, actions)
        return values.amin(0)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_target_k(s', a'), [B] or [N, B]; with max_backup each k at the best of M a'."""
        observations, behaviour = batch.next_observations, self.target_policy.behaviour
        if not self.config.max_backup:
            outputs = self.target_q(observations, behaviour.sample(observations)[0])
            return batch.rewards + batch.discounts * self.q.lowest(outputs)
        actions, _ = behaviour.sample(observations, self.config.n_actions)
        values = self.target_q.values(observations, actions).amax(1)  # [K, B]
        target: Tensor = batch.rewards + batch.discounts * values.amin(0)
        return self.q.as_target(target)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns cloning - eta * mean_k (mean Q_k / mean |Q_j|), j another critic than k, eq. (3)."""
        behaviour = self.policy.behaviour
        cloning = behaviour.loss(batch.observations, batch.actions)
        values = self.q.values(batch.observations, behaviour.sample(batch.observations)[0])
        scales = self.batch_mean(values.detach().abs(), batch).clamp(min=1e-8).roll(1)
        gains = (values / scales[:, None]).mean(0)
        return cloning - self.config.eta * gains, {"bc_loss": cloning.detach()}

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Draws one of N new actions [B, A] with probabilities softmax(min_k Q_target_k)."""
        return self.policy.draw(observations, self.action_values)

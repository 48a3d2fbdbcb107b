"""Batch-constrained Q-learning: generated actions, their perturbation, and the targets over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_vae
from offlinekit.nn import losses
from offlinekit.nn.vae import Perturbation
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.bcq import BCQ


class BCQImpl(ActorCriticImpl):
    """Q over actions G(s) + xi(s, G(s)), G a VAE of the data; arXiv:1812.02900, algorithm 1.

    Order: VAE, critics, perturbation. `policy` is the perturbation xi.
    """

    config: BCQ
    target_policy_too: ClassVar[bool] = True
    policy: Perturbation
    target_policy: Perturbation
    latents: Tensor
    candidate_noise, candidate_bound = "latents", 0.5

    def build(self) -> None:
        """Makes the critics, the perturbation, the VAE and the latents that `predict` chooses among."""
        super().build()
        self.vae = make_vae(self)
        latents, bound = torch.randn(self.config.n_candidates, 1, self.vae.latent_size), self.candidate_bound
        self.register_buffer("latents", latents.clamp(-bound, bound))

    def build_policy(self) -> Perturbation:
        """Makes the perturbation."""
        return Perturbation(self.make_network(self.action_size, action_size=self.action_size))

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the VAE, the critics and the perturbation."""
        vae = self.objective("vae", self.compute_vae_loss, [self.vae], self.config.vae_learning_rate)
        return [vae, *super().build_objectives()]

    def compute_vae_loss(self, batch: Batch) -> Loss:
        """Returns the error of the data's actions plus the weighted divergence of the latents."""
        return self.vae.loss(batch.observations, batch.actions, self.config.kl_weight)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma max_i of the mixed target critics at a_i + xi_target(s', a_i), eq. (13)."""
        observations = batch.next_observations
        generated = self.vae.generate(observations, self.config.n_actions)  # [M, B, A]
        actions = self.target_policy(observations, generated, self.config.perturbation)
        values = losses.mixed_members(self.target_q.values(observations, actions), self.config.min_weight)
        target: Tensor = batch.rewards + batch.discounts * values.amax(0)
        return self.q.as_target(target)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the values of generated and perturbed actions by the first critic, eq. (12)."""
        observations = batch.observations
        actions = self.policy(observations, self.vae.generate(observations), self.config.perturbation)
        return -self.q.values(observations, actions, members=1)[0]

    def best_action(self, observations: TensorTree, latents: Tensor) -> Tensor:
        """Returns of the actions of latents [M, B, L], perturbed, the best by the first critic [B, A]."""
        generated = self.vae.decode(observations, latents)
        actions = self.policy(observations, generated, self.config.perturbation)
        values = self.q.values(observations, actions, members=1)[0]
        return losses.best_actions(actions, values)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best action [B, A] of the same latents for every observation."""
        size = first_leaf(observations).shape[0]  # Not len(), which an export takes for constant.
        return self.best_action(observations, self.latents.expand(-1, size, -1))

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the best action [B, A] of latents drawn anew."""
        return self.best_action(observations, self.vae.draw_latents(observations, self.config.n_candidates))

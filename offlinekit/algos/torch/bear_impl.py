"""Bootstrapping error accumulation reduction: targets, the discrepancy and the weight that bounds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_vae
from offlinekit.nn import losses
from offlinekit.nn.policies import SquashedGaussianPolicy
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.bear import BEAR

LOG_ALPHA_RANGE = (-5.0, 10.0)


class BEARImpl(ActorCriticImpl):
    """max_pi min_k Q_k(s, a) with MMD(pi(.|s), data(.|s)) <= threshold; arXiv:1906.00949, algorithm 1.

    Order: VAE, critics, policy, alpha (the Lagrange multiplier). u stands for actions before tanh.
    """

    config: BEAR
    target_policy_too: ClassVar[bool] = True
    policy: SquashedGaussianPolicy
    target_policy: SquashedGaussianPolicy
    noise: Tensor
    candidate_noise = "noise"

    def build(self) -> None:
        """Makes critics, policy, VAE, log alpha, and the noise of the actions that `predict` chooses among."""
        super().build()
        self.vae = make_vae(self)
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(self.config.n_candidates, 1, self.action_size))

    def build_policy(self) -> SquashedGaussianPolicy:
        """Makes the squashed Gaussian policy."""
        return SquashedGaussianPolicy(self.make_network(2 * self.action_size), self.random)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the VAE, the critics, the policy in its two phases, and alpha."""
        config, steps = self.config, self.config.warmup_steps
        rate = config.actor_learning_rate
        return [
            self.objective("vae", self.compute_vae_loss, [self.vae], config.vae_learning_rate),
            self.critic_objective(),
            self.objective("warmup", self.compute_warmup_loss, [self.policy], rate, last=steps),
            self.actor_objective(first=steps + 1),
            self.objective("alpha", self.compute_alpha_loss, [self.log_alpha], config.alpha_learning_rate),
        ]

    def compute_vae_loss(self, batch: Batch) -> Loss:
        """Returns the error of the data's actions plus the weighted divergence of the latents."""
        return self.vae.loss(batch.observations, batch.actions, self.config.kl_weight)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma max_i of the mixed target critics at actions a_i of the target policy."""
        observations = batch.next_observations
        actions, _ = self.target_policy.sample(observations, self.config.n_actions)  # [M, B, A]
        values = losses.mixed_members(self.target_q.values(observations, actions), self.config.min_weight)
        target: Tensor = batch.rewards + batch.discounts * values.amax(0)
        return self.q.as_target(target)

    def draw(self, observations: TensorTree) -> Tensor:
        """Draws u of the policy, [M, B, A]."""
        means, log_stds = self.policy(observations)
        raw: Tensor = means + log_stds.exp() * self.random.normal(self.config.n_matched, *means.shape)
        return raw

    def discrepancies(self, observations: TensorTree, raw: Tensor) -> Tensor:
        """Returns the discrepancy [B] of u [M, B, A] from as many that the VAE generates."""
        with torch.no_grad():
            latents = self.vae.draw_latents(observations, self.config.n_matched)
            generated = self.vae.decoder(observations, latents)
        kernel, width = self.config.kernel, self.config.kernel_width
        return losses.maximum_mean_discrepancy(raw, generated, kernel, width)

    def alpha(self) -> Tensor:
        """Returns the weight of the discrepancy, without gradient."""
        return self.log_alpha.detach().clamp(*LOG_ALPHA_RANGE).exp()

    def compute_warmup_loss(self, batch: Batch) -> Loss:
        """Returns alpha times the discrepancy of each row."""
        distances = self.discrepancies(batch.observations, self.draw(batch.observations))
        return self.alpha() * distances, {"mmd": distances.detach()}

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns alpha times the discrepancy less min_k of the mean value of the same actions, row by row."""
        raw = self.draw(batch.observations)
        distances = self.discrepancies(batch.observations, raw)
        values = self.q.values(batch.observations, torch.tanh(raw)).mean(1).amin(0)  # [K, M, B] -> [B]
        return self.alpha() * distances - values, {"mmd": distances.detach()}

    def compute_alpha_loss(self, batch: Batch) -> Loss:
        """Returns -alpha (MMD - threshold), which grows alpha while the threshold is passed; 0 at its bounds."""
        with torch.no_grad():
            distances = self.discrepancies(batch.observations, self.draw(batch.observations))
        excesses = distances - self.config.mmd_threshold
        excess, (low, high) = self.batch_mean(excesses, batch), LOG_ALPHA_RANGE
        held = ((self.log_alpha >= high) & (excess > 0)) | ((self.log_alpha <= low) & (excess < 0))
        return -self.log_alpha.exp() * torch.where(held, 0.0, excesses), {"alpha": self.alpha()}

    def best_action(self, observations: TensorTree, noise: Tensor) -> Tensor:
        """Returns of the policy's actions with noise [M, B, A] the best by the first critic [B, A]."""
        means, log_stds = self.policy(observations)
        actions = torch.tanh(means + log_stds.exp() * noise)
        return losses.best_actions(actions, self.q.values(observations, actions, members=1)[0])

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the best action [B, A] of the same noise for every observation."""
        return self.best_action(observations, self.noise)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the best action [B, A] of noise drawn anew."""
        shape = self.policy(observations)[0].shape
        return self.best_action(observations, self.random.normal(self.config.n_candidates, *shape))

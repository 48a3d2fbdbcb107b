"""Supported policy optimisation: TD3 with the density of a VAE in the actor's loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.td3_impl import TD3Impl
from offlinekit.core.bases.behaviour_models import make_vae
from offlinekit.core.bases.cooling import Cooling
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.spot import SPOT


class SPOTImpl(Cooling, TD3Impl):
    """L_actor = -Q(s, pi(s)) - w log beta(pi(s)|s), beta a VAE of the data; arXiv:2202.06239, section 3.

    Order: the VAE alone for `warmup_steps` updates, then critics and policy. Online w falls to a share of it.
    """

    config: SPOT

    def build(self) -> None:
        """Makes the networks of TD3 and the VAE."""
        super().build()
        self.vae = make_vae(self)

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the VAE, the critics and the policy."""
        rate, steps = self.config.vae_learning_rate, self.config.warmup_steps
        vae = self.objective("vae", self.compute_vae_loss, [self.vae], rate, last=steps)
        return [vae, self.critic_objective(first=steps + 1), self.actor_objective(first=steps + 1)]

    def compute_vae_loss(self, batch: Batch) -> Loss:
        """Returns the error of the data's actions plus the weighted divergence of the latents."""
        return self.vae.loss(batch.observations, batch.actions, self.config.kl_weight)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the weighted loss of the VAE at the policy's actions minus their normalised value."""
        actions = self.policy(batch.observations)
        values = self.q.values(batch.observations, actions, members=1)[0]
        scale = 1.0 / self.batch_mean(values.detach().abs(), batch).clamp(min=1e-8)
        strangeness = self.vae.loss(batch.observations, actions, self.config.kl_weight)
        weight = self.config.support_weight * self.cooled(self.config.cooling_end)
        loss = weight * strangeness - scale * values
        return loss, {"strangeness": strangeness.detach()}

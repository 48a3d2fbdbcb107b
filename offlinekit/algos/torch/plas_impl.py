"""Policy in the latent action space: a policy of latents, decoded by a model of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.behaviour_models import make_vae
from offlinekit.nn import losses
from offlinekit.nn.policies import DeterministicPolicy
from offlinekit.nn.vae import Perturbation
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.plas import PLAS


class PLASImpl(ActorCriticImpl):
    """a = D(s, z), z = max_latent tanh(pi(s)), D the decoder of a VAE; arXiv:2011.07213, section 4.

    Order: the VAE alone for `warmup_steps` updates, then critics and policy. `policy` gives z / max_latent.
    """

    config: PLAS
    target_policy_too: ClassVar[bool] = True
    policy: DeterministicPolicy
    target_policy: DeterministicPolicy

    def build(self) -> None:
        """Makes the critics, the policy, the VAE, and the perturbation if the front has one."""
        super().build()
        self.vae = make_vae(self)
        self.perturbation: Perturbation | None = None
        self.target_perturbation: Perturbation | None = None
        if self.config.perturbation is not None:
            size = self.action_size
            self.perturbation = Perturbation(self.make_network(size, action_size=size))
            self.target_perturbation = self.make_target(self.perturbation)

    def build_policy(self) -> DeterministicPolicy:
        """Makes the policy of latents."""
        return DeterministicPolicy(self.make_network(2 * self.action_size))

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the VAE, the critics, and the policy with its perturbation."""
        config, steps = self.config, self.config.warmup_steps
        actors = [self.policy] if self.perturbation is None else [self.policy, self.perturbation]
        return [
            self.objective("vae", self.compute_vae_loss, [self.vae], config.vae_learning_rate, last=steps),
            self.critic_objective(first=steps + 1),
            self.actor_objective(actors, first=steps + 1),
        ]

    def compute_vae_loss(self, batch: Batch) -> Loss:
        """Returns the error of the data's actions plus the weighted divergence of the latents."""
        return self.vae.loss(batch.observations, batch.actions, self.config.kl_weight)

    def act(
        self, observations: TensorTree, policy: DeterministicPolicy, perturbation: Perturbation | None
    ) -> Tensor:
        """Returns the decoded action of the policy's latent, perturbed, [B, A]."""
        actions = self.vae.decode(observations, self.config.max_latent * policy(observations))
        if perturbation is None:
            return actions
        perturbed: Tensor = perturbation(observations, actions, self.config.perturbation)
        return perturbed

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma times the mixed target critics at the action of the target policy."""
        actions = self.act(batch.next_observations, self.target_policy, self.target_perturbation)
        values = self.target_q.values(batch.next_observations, actions)
        mixed = losses.mixed_members(values, self.config.min_weight)
        target: Tensor = batch.rewards + batch.discounts * mixed
        return self.q.as_target(target)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the values of the policy's actions by the first critic."""
        actions = self.act(batch.observations, self.policy, self.perturbation)
        return -self.q.values(batch.observations, actions, members=1)[0]

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the action of the policy [B, A]."""
        return self.act(observations, self.policy, self.perturbation)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns the action of the policy [B, A]."""
        return self.predict_best_action(observations)

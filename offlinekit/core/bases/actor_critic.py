"""Base of actor-critics for continuous actions: front and implementation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from torch import Tensor, nn

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, EncoderLike, NonNegative, Positive, QKind, Rate, Schedule
from offlinekit.core.impl import Impl
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import MLPEncoder, resolve_encoder
from offlinekit.nn.networks import QFunction
from offlinekit.nn.policies import drawn_log_prob
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective


class ActorCritic(Algo):
    """Continuous actions: a policy and an ensemble of critics."""

    actor_learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    critic_learning_rate: Annotated[Positive, "Of the critics."] = 3e-4
    actor_lr_schedule: Annotated[Schedule | None, "Of the policy's rate; None takes `lr_schedule`."] = None
    critic_encoder: Annotated[EncoderLike | None, "Of the critics; None takes `encoder`."] = None
    n_critics: Annotated[Count, "Critics in the ensemble."] = 2
    tau: Annotated[Rate, "Share of a network that enters its target at each of its updates."] = 0.005
    q_function: Annotated[QKind, "What critics learn of the return: its mean, or quantiles ('qr')."] = "mean"
    n_quantiles: Annotated[Count, "Quantiles of the return with q_function='qr'."] = 32

    action_kind: ClassVar[str] = "continuous"


class Generative(ActorCritic):
    """A conditional VAE that generates actions as the data hold them."""

    vae_learning_rate: Annotated[Positive, "Of the VAE."] = 1e-3
    kl_weight: Annotated[NonNegative, "Of the divergence from the prior, beside the squared error."] = 0.5
    vae_encoder: Annotated[EncoderLike | None, "Of the VAE; None takes `encoder`."] = MLPEncoder((750, 750))
    decoder_tanh: Annotated[bool, "Whether a tanh ends the VAE's decoder; that of d3rlpy has none."] = True


class ActorCriticImpl(Impl):
    """Continuous actions: critics `q` with a target, a `policy`, and a loss for each."""

    config: ActorCritic
    needs: ClassVar[tuple[str, ...]] = (*Impl.needs, "masks")
    target_policy_too: ClassVar[bool] = False

    def build(self) -> None:
        """Makes critics, policy and targets."""
        intervals = ("target_update_interval", "policy_delay")
        every = next((name for name in intervals if hasattr(self.config, name)), 1)
        self.q = self.make_q()
        self.policy = self.build_policy()
        self.target_q = self.make_target(self.q, "tau", every)
        if self.target_policy_too:
            self.target_policy = self.make_target(self.policy, "tau", every)

    def build_policy(self) -> Any:
        """Makes the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define build_policy()")

    def make_q(self) -> QFunction:
        """Makes the critics that the front configures."""
        config = self.config
        return QFunction(
            self.critic_encoder(),
            self.observation_space,
            self.random,
            self.n_members,
            action_size=self.action_size,
            n_quantiles=config.n_quantiles if config.q_function == "qr" else None,
            huber_width=getattr(config, "huber_width", None),
        )

    @property
    def n_members(self) -> int:
        """Critics in all."""
        return int(self.config.n_critics)

    def critic_encoder(self) -> MLPEncoder:
        """Returns what sees the observation in critics and state values, normalised if the front says so."""
        encoder = resolve_encoder(self.config.critic_encoder or self.config.encoder, self.observation_space)
        return replace(
            encoder, layer_norm=encoder.layer_norm or getattr(self.config, "critic_layer_norm", False)
        )

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss, then the actor's."""
        return [self.critic_objective(), self.actor_objective()]

    def critic_objective(self, first: int = 1) -> Objective:
        """Declares the critics' loss against the target of the batch, from an update on."""
        rate = self.config.critic_learning_rate
        return self.objective("critic", self.critic_loss, [self.q], rate, first=first)

    def actor_objective(self, owners: Sequence[nn.Module] = (), first: int = 1) -> Objective:
        """Declares the actor's loss, delayed if the front says so.

        Args:
            owners: What it changes in place of the policy.
            first: The first update in which it is minimised.
        """
        config = self.config
        return self.objective(
            "actor",
            self.compute_actor_loss,
            owners or [self.policy],
            config.actor_learning_rate,
            schedule=config.actor_lr_schedule,
            weight_decay=getattr(config, "actor_weight_decay", None),
            every=getattr(config, "policy_delay", 1),
            first=first,
        )

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of the data's actions against the target `q_tpn`."""
        return self.q.loss(self.q(batch.observations, batch.actions), q_tpn, batch.masks)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the loss of the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_actor_loss()")

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the policy's mode [B, A]."""
        actions: Tensor = self.policy.mode(observations)
        return actions

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A] drawn from the policy."""
        actions: Tensor = self.policy.sample(observations)[0]
        return actions

    def sampled_log_prob(self, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
        """Returns the log-probabilities [B] of actions as `sample_action` draws them; see `drawn_log_prob`."""
        return drawn_log_prob(self.policy, observations, actions, log_scale)

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q(s, a) [B]; of the policy's mode if actions are None."""
        chosen = self.predict_best_action(observations) if actions is None else actions
        return self.q.values(observations, chosen).mean(0)

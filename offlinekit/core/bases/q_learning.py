"""Bases for discrete actions, front and implementation: Q-learning, and a policy beside its critics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, QKind, Rate, TDLoss
from offlinekit.core.impl import Impl
from offlinekit.errors import UnsupportedError
from offlinekit.nn import losses
from offlinekit.nn.encoders import resolve_encoder
from offlinekit.nn.networks import QFunction
from offlinekit.nn.policies import CategoricalPolicy, drawn_log_prob
from offlinekit.nn.rows import Rows, bootstrapped
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective


class QLearning(Algo):
    """Discrete actions: an ensemble of critics, each with one output an action."""

    learning_rate: Annotated[Positive, "Of the critics."] = 3e-4
    n_critics: Annotated[Count, "Critics in the ensemble; their mean chooses, the lowest is the target."] = 1
    target_update_interval: Annotated[Count, "Updates between two updates of the target."] = 100
    tau: Annotated[Rate, "Share of the critics that enters their target at each update; 1 copies them."] = 1.0
    td_loss: Annotated[TDLoss, "Of the temporal difference with q_function='mean'."] = "huber"
    q_function: Annotated[QKind, "What critics learn of the return: its mean, or quantiles ('qr')."] = "mean"
    n_quantiles: Annotated[Count, "Quantiles of the return with q_function='qr'."] = 200

    action_kind: ClassVar[str] = "discrete"


def gap_to_data(values: Tensor, actions: Tensor) -> Tensor:
    """Returns the soft maximum of values [K, B, A] less those of actions [B], [K, B]."""
    return losses.conservative_gap(values.movedim(-1, 1), losses.select_actions(values, actions))


class QLearningImpl(Impl):
    """Discrete actions: critics `q`, their target, a temporal-difference loss."""

    config: QLearning
    needs: ClassVar[tuple[str, ...]] = (*Impl.needs, "masks")

    def build(self) -> None:
        """Makes the critics and their target."""
        self.q = self.make_q()
        self.target_q = self.make_target(self.q, "tau", "target_update_interval")

    def make_q(self) -> QFunction:
        """Makes the critics that the front configures."""
        config = self.config
        return QFunction(
            resolve_encoder(config.encoder, self.observation_space),
            self.observation_space,
            self.random,
            config.n_critics,
            n_actions=sum(self.parts.sizes),
            n_quantiles=config.n_quantiles if config.q_function == "qr" else None,
            huber_width=1.0 if config.td_loss == "huber" else None,
        )

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss against the target of the batch."""
        return [self.objective("critic", self.critic_loss, [self.q], self.config.learning_rate)]

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns rewards + discounts * Q_target(s', greedy action), [B] or [N, B]; lowest over members."""
        outputs = self.target_q(batch.next_observations)
        actions = self.next_actions(batch.next_observations, outputs)
        return batch.rewards + batch.discounts * self.q.lowest(self.parts.select(outputs, actions))

    def next_actions(self, observations: TensorTree, outputs: Tensor) -> Tensor:
        """Returns the actions [B] whose value the target takes; `outputs` are its own at these observations."""
        return self.greedy(self.target_q.expected(outputs))

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of the data's actions."""
        outputs = self.parts.select(self.q(batch.observations), batch.actions)
        return self.q.loss(outputs, q_tpn, batch.masks)

    def conservative_critic_loss(
        self,
        batch: Batch,
        q_tpn: Tensor,
        alpha: float,
        gap_of: Callable[[Tensor, Tensor], Tensor] = gap_to_data,
    ) -> tuple[Rows, dict[str, Rows]]:
        """Returns the temporal-difference loss plus alpha times the conservative gap.

        Source: Kumar et al. 2020, arXiv:2006.04779, eq. (4), the sum over actions taken exactly.

        Args:
            batch: Of the data.
            q_tpn: Targets [B], or samples of their distribution [N, B].
            alpha: Weight of the gap.
            gap_of: Values [K, B, A] and the data's actions [B] -> gaps [K, B].
        """
        outputs = self.q(batch.observations)
        td_loss = self.q.loss(self.parts.select(outputs, batch.actions), q_tpn, batch.masks)
        gaps = self.parts.total(gap_of, self.q.expected(outputs), batch.actions)  # [K, B]
        gap = bootstrapped(gaps, batch.masks)
        loss = td_loss + alpha * gap
        return loss, {"td_loss": td_loss.detach(), "conservative_gap": gap.detach()}

    def greedy(self, values: Tensor) -> Tensor:
        """Returns the action [B] of the highest value, of the mean over members, from values [K, B, A]."""
        return self.parts.best(values.mean(0))

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the greedy actions [B]."""
        return self.greedy(self.q.values(observations))

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q(s, a) [B]; of the greedy action if actions are None."""
        values = self.q.values(observations)
        chosen = self.predict_best_action(observations) if actions is None else actions
        return self.parts.select(values, chosen).mean(0)


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
        self.policy = CategoricalPolicy(self.make_logits(), self.random, self.parts)

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
        """Reduces [K, B, A] or [K, N, B, A] to the most pessimistic member of each row and action.

        Of several parts it is the lowest of each, whose sum is at most the lowest sum.
        """
        lowest = self.q.lowest(outputs.flatten(-2))
        return lowest.reshape(*lowest.shape[:-1], *outputs.shape[-2:])

    @torch.no_grad()
    def advantages(self, batch: Batch) -> Tensor:
        """Returns Q(s, a) - sum_b pi(b|s) Q(s, b) of the data's actions [B], Q = min_k Q_k, without gradient."""
        values = self.q.values(batch.observations).amin(0)  # [B, A]
        mean = losses.expectation(self.policy(batch.observations), values)
        return self.parts.select(values, batch.actions) - mean

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the loss of the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_actor_loss()")

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the policy's likeliest actions [B]."""
        return self.policy.mode(observations)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B] drawn from the policy."""
        return self.policy.sample(observations)[0]

    def sampled_log_prob(self, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
        """Returns the log-probabilities [B] of actions as `sample_action` draws them; see `drawn_log_prob`."""
        return drawn_log_prob(self.policy, observations, actions, log_scale)

"""Fitted Q evaluation: regression on targets that act as the evaluated policy does."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.nn.encoders import resolve_encoder
from offlinekit.nn.networks import QFunction
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.fqe import FQE, DiscreteFQE


class FQEImpl(Impl):
    """y = r + gamma E_{a' of the policy} Q_target(s', a'); arXiv:1903.08738, algorithm 3.

    `batch.next_policy_actions` [B, D, A] are D actions of the policy at s'.
    """

    config: FQE
    needs: ClassVar[tuple[str, ...]] = (*Impl.needs, "masks", "next_policy_actions")
    unread: ClassVar[tuple[str, ...]] = ("resample",)  # It chooses rows alone.
    is_discrete: ClassVar[bool] = False

    def build(self) -> None:
        """Makes the critics and their target."""
        config = self.config
        self.q = QFunction(
            resolve_encoder(config.encoder, self.observation_space),
            self.observation_space,
            self.random,
            config.n_critics,
            action_size=0 if self.is_discrete else self.action_size,
            n_actions=sum(self.parts.sizes) if self.is_discrete else 0,
            n_quantiles=config.n_quantiles if config.q_function == "qr" else None,
            huber_width=1.0 if config.td_loss == "huber" else None,
        )
        self.target_q = self.make_target(self.q, "tau", "target_update_interval")

    def begin_at(self, value: float) -> None:
        """Moves new critics and their target from values around 0 to values around a number."""
        self.q.shift(value)
        self.target_q.shift(value)

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss against the target of the batch."""
        return [self.objective("critic", self.critic_loss, [self.q], self.config.learning_rate)]

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the targets [B], or samples of their distribution [N, B]: the mean over members."""
        return batch.rewards + batch.discounts * self.next_outputs(batch).mean(0)

    def next_outputs(self, batch: Batch) -> Tensor:
        """Returns the target critics' outputs for the policy's actions, [K, B], or [K, N * D, B] of quantiles."""
        actions = batch.next_policy_actions.movedim(1, 0)
        drawn: Tensor = self.target_q(batch.next_observations, actions)  # [K, (N,) D, B]
        return drawn.flatten(1, 2) if self.q.n_quantiles else drawn.mean(1)

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of the data's actions."""
        return self.q.loss(self.outputs(batch.observations, batch.actions), q_tpn, batch.masks)

    def outputs(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns what the critics say of actions, [K, B] or [K, N, B]."""
        outputs: Tensor = self.q(observations, actions)
        return outputs

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q(s, a) [B]."""
        if actions is None:
            return super().predict_value(observations, actions)
        return self.q.expected(self.outputs(observations, actions)).mean(0)


class DiscreteFQEImpl(FQEImpl):
    """y = r + gamma sum_a' pi(a' | s') Q_target(s', a'); of quantiles, those of one a' drawn from pi.

    `batch.next_policy_probabilities` [B, A] are pi(. | s'), or of the choices of each part if actions are factored.
    """

    config: DiscreteFQE
    needs: ClassVar[tuple[str, ...]] = (*Impl.needs, "masks", "next_policy_probabilities")
    is_discrete: ClassVar[bool] = True

    def next_outputs(self, batch: Batch) -> Tensor:
        """Returns the target critics' outputs for the policy's choice, [K, B] or [K, N, B]."""
        outputs, probabilities = self.target_q(batch.next_observations), batch.next_policy_probabilities
        if self.q.n_quantiles is None:
            expected: Tensor = (probabilities * outputs).sum(-1)
            return expected
        return self.parts.select(outputs, self.parts.draw(torch.log(probabilities), self.random))

    def mean_value(self, observations: TensorTree, probabilities: Tensor) -> Tensor:
        """Returns the mean over members of Q(s, .) over actions, or choices of parts, of these probabilities, [B]."""
        return (self.q.values(observations) * probabilities).sum(-1).mean(0)

    def outputs(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns what the critics say of actions, [K, B] or [K, N, B]."""
        return self.parts.select(self.q(observations), actions)

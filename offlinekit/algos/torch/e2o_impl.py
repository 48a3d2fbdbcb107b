"""E2O: CQL with many critics offline, and online SAC on the mean over pairs of critics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.bases.phases import FreeOnline
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch, TensorTree
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.e2o import E2O


class E2OImpl(FreeOnline, CQLImpl):
    """y = r + gamma (mean over pairs of min(Q_i, Q_j) - temperature log pi) online; arXiv:2306.06871."""

    config: E2O

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target of CQL, the lowest of all critics; online their mean over pairs, with the entropy."""
        if not self.is_online:
            return super().compute_target(batch)
        actions, log_probs = self.policy.sample(batch.next_observations)
        outputs = self.target_q(batch.next_observations, actions)
        values = losses.mean_of_pairs(outputs, self.q.expected(outputs))
        target: Tensor = batch.rewards + batch.discounts * (values - self.log_temperature.exp() * log_probs)
        return target

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the loss of CQL; online without the gap, and times a factor that falls as critics disagree."""
        if not self.is_online or self.config.disagreement_weight == 0:
            return super().compute_critic_loss(batch, q_tpn)
        td_loss = self.q.loss(self.q(batch.observations, batch.actions), q_tpn, batch.masks)
        return self.agreement(batch) * td_loss

    @torch.no_grad()
    def agreement(self, batch: Batch) -> Tensor:
        """Returns sigmoid(-W std) + 1/2 [], std over critics of the batch's mean value at s'."""
        actions, _ = self.policy.sample(batch.next_observations)
        means = self.batch_mean(self.target_q.values(batch.next_observations, actions), batch)  # [K]
        return torch.sigmoid(-self.config.disagreement_weight * means.std(correction=0)) + 0.5

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A] of the policy; online the best of some by mean plus deviation of the critics."""
        if not self.is_online:
            return super().sample_action(observations)
        actions, _ = self.policy.sample(observations, self.config.n_proposals)  # [n, B, A]
        values = self.q.values(observations, actions)  # [K, n, B]
        scores = values.mean(0) + self.config.optimism * values.std(0)  # [n, B]
        return losses.best_actions(actions, scores)

"""Conservative Q-network: double DQN and a term that pulls values together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.algos.torch.double_dqn_impl import DoubleDQNImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.cqn import CQN


class CQNImpl(DoubleDQNImpl):
    """L = L_TD / 2 + alpha E[logsumexp_a Q(s, a) - mean_a Q(s, a)]; AgileRL's cqn.py, `learn`."""

    config: CQN

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns half the temporal-difference loss plus alpha times the gap to the mean."""
        loss, metrics = self.conservative_critic_loss(batch, q_tpn, 2 * self.config.alpha, gap_to_mean)
        return 0.5 * loss, metrics


def gap_to_mean(values: Tensor, actions: Tensor) -> Tensor:
    """Returns the soft maximum of values [K, B, A] less their mean over legal actions, [K, B]; actions do not count."""
    legal = losses.are_legal(values)
    mean = torch.where(legal, values, 0.0).sum(-1) / legal.sum(-1)
    return values.logsumexp(-1) - mean

"""Discrete conservative Q-learning: double DQN and one term."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.algos.torch.double_dqn_impl import DoubleDQNImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.discrete_cql import DiscreteCQL


class DiscreteCQLImpl(DoubleDQNImpl):
    """L = L_TD + alpha E[logsumexp_a Q(s, a) - Q(s, a_data)]; arXiv:2006.04779, eq. (4)."""

    config: DiscreteCQL

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss plus alpha times the conservative gap."""
        return self.conservative_critic_loss(batch, q_tpn, self.config.alpha)

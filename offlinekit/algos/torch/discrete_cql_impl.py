"""Discrete conservative Q-learning: double DQN and one term."""

from __future__ import annotations

from torch import Tensor

from offlinekit.algos.torch import functional
from offlinekit.algos.torch.double_dqn_impl import DoubleDQNImpl
from offlinekit.algos.torch.objectives import Loss
from offlinekit.types import Batch


class DiscreteCQLImpl(DoubleDQNImpl):
    """L = L_TD + alpha E[logsumexp_a Q(s, a) - Q(s, a_data)]; arXiv:2006.04779, eq. (4)."""

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss plus alpha times the conservative gap."""
        outputs = self.q(batch.observations)
        td_loss = self.q.loss(functional.select_actions(outputs, batch.actions), q_tpn, batch.masks)
        values = self.q.expected(outputs)  # [K, B, A]
        data = functional.select_actions(values, batch.actions)
        gaps = functional.conservative_gap(values.movedim(-1, 1), data)
        gap = functional.ensemble_mean(gaps, batch.masks)
        loss = td_loss + self.config.alpha * gap
        return loss, {"td_loss": td_loss.detach(), "conservative_gap": gap.detach()}

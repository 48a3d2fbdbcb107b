"""EDAC: SAC-N and one term that keeps the critics' gradients by the action apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.nn import losses
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.edac import EDAC


class EDACImpl(SACImpl):
    """L = L_TD + eta / (N - 1) sum_{i != j} <unit grad_a Q_i, unit grad_a Q_j>; arXiv:2110.01548, algorithm 1."""

    config: EDAC

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target of SAC; with max_backup r + gamma min_k max_m Q_k(s', a'_m), by the online critics."""
        if not self.config.max_backup:
            return super().compute_target(batch)
        actions, _ = self.policy.sample(batch.next_observations, self.config.n_actions)  # [M, B, A]
        best = self.q.values(batch.next_observations, actions).amax(1).amin(0)
        return self.q.as_target(batch.rewards + batch.discounts * best)

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss plus eta times the alignment of the gradients, eq. (5)."""
        outputs, gradients = self.q.action_gradients(batch.observations, batch.actions)
        td_loss = self.q.loss(outputs, q_tpn, batch.masks)
        alignment = losses.gradient_alignment(gradients)
        loss = td_loss + self.config.eta * alignment
        return loss, {"td_loss": td_loss.detach(), "gradient_alignment": alignment.detach()}

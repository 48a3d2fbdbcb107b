"""RLPD: REDQ whose targets may leave out the entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from offlinekit.algos.torch.redq_impl import REDQImpl
from offlinekit.sampling.batch import Batch

if TYPE_CHECKING:
    from offlinekit.algos.rlpd import RLPD


class RLPDImpl(REDQImpl):
    """Soft actor-critic with many normalised critics, some of them in each target; arXiv:2302.02948, algorithm 1."""

    config: RLPD

    @property
    def usual_entropy(self) -> float:
        """The target entropy unless one is given: minus half the action dimensions."""
        return -self.action_size / 2

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target of REDQ; without the entropy r + gamma min_{k in M} Q_target_k(s', a')."""
        if self.config.soft_backup:
            return super().compute_target(batch)
        members = self.draw_members()
        actions, _ = self.policy.sample(batch.next_observations)
        values = self.q.lowest(self.target_q(batch.next_observations, actions)[members])
        target: Tensor = batch.rewards + batch.discounts * values
        return target

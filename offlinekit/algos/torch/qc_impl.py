"""Q-chunking: best of N from a flow, over chunks of actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.bfn_impl import BFNImpl
from offlinekit.core.bases.chunking import ChunkingImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.qc import QC


class QCImpl(ChunkingImpl, BFNImpl):
    """BFN over chunks: y = sum_i gamma^i r_i + gamma^H Q_target(s_H, c*), c* the best of N; arXiv:2507.07969."""

    config: QC

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the flow-matching loss of the data's chunks, over steps of the episode alone."""
        return self.policy.behaviour.loss(batch.observations, batch.actions, self.cloning_weights(batch))

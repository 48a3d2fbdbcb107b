"""Q-chunking with flow Q-learning: a one-step policy of chunks, near a flow that clones them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.fql_impl import FQLImpl
from offlinekit.core.bases.chunking import ChunkingImpl
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss

if TYPE_CHECKING:
    from offlinekit.algos.qc_fql import QCFQL


class QCFQLImpl(ChunkingImpl, FQLImpl):
    """FQL over chunks: y = sum_i gamma^i r_i + gamma^H Q_target(s_H, mu(s_H, z)); arXiv:2507.07969, section 4.3."""

    config: QCFQL

    def compute_flow_loss(self, batch: Batch) -> Loss:
        """Returns the flow-matching loss of the data's chunks, over steps of the episode alone."""
        return self.flow.loss(batch.observations, batch.actions, self.cloning_weights(batch))

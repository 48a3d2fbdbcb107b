"""COMBO: the conservative gap between all rows, or those of the model, and recorded ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.bases.model_based import ModelBasedImpl
from offlinekit.sampling.batch import Batch

if TYPE_CHECKING:
    from offlinekit.algos.combo import COMBO


class COMBOImpl(ModelBasedImpl, CQLImpl):
    """L_TD + alpha (E_rho log integral exp Q(s, a) da - E_data Q(s, a)); arXiv:2102.08363, eq. (2)."""

    config: COMBO
    needs: ClassVar[tuple[str, ...]] = (*CQLImpl.needs, "imagined")

    def gap_masks(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Returns all rows or those of the model, which a run online does not have, and the recorded ones."""
        masks = batch.imagined.new_ones(self.q.members, 1) if batch.masks is None else batch.masks
        of_all = self.config.pushed_rows == "all" or self.is_online
        pushed = batch.masks if of_all else masks * batch.imagined
        return pushed, masks * (1.0 - batch.imagined)

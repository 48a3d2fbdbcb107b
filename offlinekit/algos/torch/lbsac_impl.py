"""LB-SAC: SAC-N whose batches and rates are large."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.sacn_impl import SACNImpl

if TYPE_CHECKING:
    from offlinekit.algos.lbsac import LBSAC


class LBSACImpl(SACNImpl):
    """The losses of SAC-N; batch, rates and layer norm are the front's; arXiv:2211.11092."""

    config: LBSAC

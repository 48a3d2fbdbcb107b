"""Percent behaviour cloning: behaviour cloning's loss on the best episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.bc_impl import BCImpl

if TYPE_CHECKING:
    from offlinekit.algos.percent_bc import PercentBC


class PercentBCImpl(BCImpl):
    """BC; its front leaves out the other episodes. arXiv:2106.01345, section 5.1."""

    config: PercentBC

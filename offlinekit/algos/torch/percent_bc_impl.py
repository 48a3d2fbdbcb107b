"""Percent behaviour cloning: behaviour cloning's loss on the best episodes."""

from __future__ import annotations

from offlinekit.algos.torch.bc_impl import BCImpl


class PercentBCImpl(BCImpl):
    """BC; its front leaves out the other episodes. arXiv:2106.01345, section 5.1."""

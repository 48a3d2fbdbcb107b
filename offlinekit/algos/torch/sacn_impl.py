"""SAC-N: soft actor-critic whose critics are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.algos.torch.sac_impl import SACImpl

if TYPE_CHECKING:
    from offlinekit.algos.sacn import SACN


class SACNImpl(SACImpl):
    """SAC with the minimum over N critics in target and actor; arXiv:2110.01548, eq. (3) and section 3."""

    config: SACN

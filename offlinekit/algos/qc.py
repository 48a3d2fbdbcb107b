"""Q-chunking."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.bfn import BFN
from offlinekit.algos.torch.qc_impl import QCImpl
from offlinekit.core.bases.chunking import Chunking


class QC(Chunking, BFN):
    """Q-chunking: the best of N action chunks of a flow, executed open loop, with h-step backups.

    Source: Li et al. 2025, arXiv:2507.07969.
    """

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2507.07969"
    impl_class = QCImpl

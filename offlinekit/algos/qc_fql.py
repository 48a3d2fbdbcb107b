"""Q-chunking with flow Q-learning."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.fql import FQL
from offlinekit.algos.torch.qc_fql_impl import QCFQLImpl
from offlinekit.core.bases.chunking import Chunking


class QCFQL(Chunking, FQL):
    """Flow Q-learning whose actions are chunks of several steps (QC-FQL), valued and played out whole.

    Source: Li et al. 2025, arXiv:2507.07969.
    """

    alpha = 100.0

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2507.07969"
    short_name: ClassVar[str] = "qc_fql"
    impl_class = QCFQLImpl

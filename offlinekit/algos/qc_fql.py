"""Q-chunking with flow Q-learning."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.fql import FQL
from offlinekit.algos.torch.qc_fql_impl import QCFQLImpl
from offlinekit.core.bases.chunking import Chunking


class QCFQL(Chunking, FQL):
    """Q-chunking with flow Q-learning: a one-step policy of action chunks, executed open loop.

    Source: Li et al. 2025, arXiv:2507.07969.
    """

    alpha = 100.0

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2507.07969"
    short_name: ClassVar[str] = "qc_fql"
    impl_class = QCFQLImpl

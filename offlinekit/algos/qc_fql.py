"""Q-chunking with flow Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.fql import FQL
from offlinekit.algos.torch.qc_fql_impl import QCFQLImpl
from offlinekit.core.bases.chunking import Chunking
from offlinekit.core.hyperparameters import NonNegative


@dataclass(kw_only=True, eq=False, repr=False)
class QCFQL(Chunking, FQL):
    """Flow Q-learning whose actions are chunks of several steps (QC-FQL), valued and played out whole.

    Source: Li et al. 2025, arXiv:2507.07969.
    """

    alpha: NonNegative = 100.0  # Weight of the distance to the flow, in units of return; large is cloning.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2507.07969"
    short_name: ClassVar[str] = "qc_fql"
    impl_class = QCFQLImpl

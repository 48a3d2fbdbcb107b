"""MoBRAC."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.rebrac import ReBRAC
from offlinekit.algos.torch.mobrac_impl import MoBRACImpl
from offlinekit.core.bases.model_based import PenalisedRollouts


class MoBRAC(PenalisedRollouts, ReBRAC):
    """ReBRAC on the minibatches of MOPO: rows of rollouts stay near the actions that were taken in them.

    Source: Jackson et al. 2025, arXiv:2504.11453.
    """

    batch_size = 256

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2504.11453"
    short_name: ClassVar[str] = "mobrac"
    dynamics_class = Dynamics
    impl_class = MoBRACImpl

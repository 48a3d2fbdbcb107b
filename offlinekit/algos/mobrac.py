"""MoBRAC."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.rebrac import ReBRAC
from offlinekit.algos.torch.mobrac_impl import MoBRACImpl
from offlinekit.core.bases.model_based import PenalisedRollouts


class MoBRAC(PenalisedRollouts, ReBRAC):
    """ReBRAC on MOPO's minibatches: its penalties hold the policy to the actions taken in rollouts as well.

    Source: Jackson et al. 2025, arXiv:2504.11453.
    """

    batch_size = 256

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2504.11453"
    short_name: ClassVar[str] = "mobrac"
    dynamics_class = Dynamics
    impl_class = MoBRACImpl

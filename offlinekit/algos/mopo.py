"""Model-based offline policy optimisation."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.mopo_impl import MOPOImpl
from offlinekit.core.bases.model_based import PenalisedRollouts


class MOPO(PenalisedRollouts, SAC):
    """Model-based offline policy optimisation: SAC on short model rollouts, rewards penalised by model uncertainty.

    Source: Yu et al. 2020, arXiv:2005.13239.
    """

    actor_learning_rate = 1e-4
    temperature_learning_rate = 1e-4
    log_std_min = -5.0
    actor_lr_schedule = "cosine"

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2005.13239"
    dynamics_class = Dynamics
    impl_class = MOPOImpl

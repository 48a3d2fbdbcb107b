"""MOReL with SAC-N as its planner."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.sacn import SACN
from offlinekit.algos.torch.morel_impl import MOReLImpl
from offlinekit.core.bases.model_based import ModelBased
from offlinekit.core.hyperparameters import NonNegative


class MOReL(ModelBased, SACN):
    """SAC-N on model rollouts that end, with a low reward, where the members of the ensemble disagree.

    Source: Kidambi et al. 2020, arXiv:2005.05951; the planner as in Jackson et al. 2025, arXiv:2504.11453.
    """

    threshold_scale: Annotated[
        NonNegative, "Times the largest disagreement in the data: what is unknown."
    ] = 10.0
    halt_offset: Annotated[float, "Reward of a step into the unknown, beside the lowest of the data."] = -30.0
    real_share = 0.01

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2005.05951"
    short_name: ClassVar[str] = "morel"
    dynamics_class = Dynamics
    impl_class = MOReLImpl

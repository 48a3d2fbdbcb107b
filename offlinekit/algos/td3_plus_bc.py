"""TD3+BC."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.td3 import TD3
from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.core.hyperparameters import Positive


class TD3PlusBC(TD3):
    """TD3 with a behaviour-cloning term, a squared error to the actions of the data.

    Source: Fujimoto and Gu 2021, arXiv:2106.06860.
    """

    alpha: Annotated[Positive, "Weight of the value beside the cloning term; towards 0 it is cloning."] = 2.5
    observation_scaler = "standard"

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2106.06860"
    impl_class = TD3PlusBCImpl

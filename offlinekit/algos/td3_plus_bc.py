"""TD3+BC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.td3 import TD3
from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.core.hyperparameters import Positive


@dataclass(kw_only=True, eq=False, repr=False)
class TD3PlusBC(TD3):
    """TD3 whose actor is held to the data's actions by a squared error.

    Source: Fujimoto and Gu 2021, arXiv:2106.06860.
    """

    alpha: Positive = 2.5  # Weight of the value term against the cloning term; 0 would be behaviour cloning.
    observation_scaler: Any = "standard"  # None, "standard", "minmax" or a Scaler; fitted on the data.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2106.06860"
    impl_class = TD3PlusBCImpl

"""Policy regularisation with a dataset constraint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.td3_plus_bc import TD3PlusBC
from offlinekit.algos.torch.prdc_impl import PRDCImpl
from offlinekit.core.hyperparameters import NonNegative


@dataclass(kw_only=True, eq=False, repr=False)
class PRDC(TD3PlusBC):
    """TD3+BC whose actor is held to the nearest action of the whole dataset, not to that of the row.

    Source: Ran et al. 2023, arXiv:2306.06569.
    """

    state_weight: NonNegative = 2.0  # Of the observation beside the action in the search; as the run begins.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2306.06569"
    impl_class = PRDCImpl

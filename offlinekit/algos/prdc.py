"""Policy regularisation with a dataset constraint."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.td3_plus_bc import TD3PlusBC
from offlinekit.algos.torch.prdc_impl import PRDCImpl
from offlinekit.core.hyperparameters import NonNegative


class PRDC(TD3PlusBC):
    """TD3+BC regularised towards the nearest state-action pair of the dataset, in place of the row's own action.

    Source: Ran et al. 2023, arXiv:2306.06569.
    """

    state_weight: Annotated[NonNegative, "Of the observation beside the action in the search."] = 2.0

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2306.06569"
    impl_class = PRDCImpl

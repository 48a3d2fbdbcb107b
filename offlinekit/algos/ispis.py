"""In-sample policy iteration towards a snapshot."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.td3_plus_bc import TD3PlusBC
from offlinekit.algos.torch.ispis_impl import ISPISImpl
from offlinekit.core.hyperparameters import Count, Probability


class ISPIS(TD3PlusBC):
    """TD3+BC regularised towards its own earlier policy as well as towards the data (ISPI-S, also CPI).

    Source: Hu et al. 2023, arXiv:2306.05726.
    """

    reference_weight: Annotated[Probability, "Of the snapshot's distance; the data's has the rest."] = 0.5
    snapshot_interval: Annotated[Count, "Updates from one snapshot of the policy to the next."] = 2

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2306.05726"
    impl_class = ISPISImpl

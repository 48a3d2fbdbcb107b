"""SAC-N."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.sacn_impl import SACNImpl
from offlinekit.core.hyperparameters import Count
from offlinekit.nn.encoders import MLPEncoder


class SACN(SAC):
    """SAC with N critics, whose minimum is pessimistic where the data leave them free to differ.

    Source: An et al. 2021, arXiv:2110.01548.
    """

    n_critics: Annotated[Count, "Critics in the ensemble; more are more pessimistic."] = 10
    encoder = MLPEncoder(hidden_sizes=(256, 256, 256))

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2110.01548"
    impl_class = SACNImpl

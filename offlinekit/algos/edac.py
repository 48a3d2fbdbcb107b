"""EDAC: ensemble-diversified actor-critic."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.edac_impl import EDACImpl
from offlinekit.core.hyperparameters import Count, NonNegative
from offlinekit.nn.encoders import MLPEncoder


class EDAC(SAC):
    """SAC-N that diversifies the gradients of its critics, so that fewer of them are pessimistic enough.

    Source: An et al. 2021, arXiv:2110.01548.
    """

    eta: Annotated[NonNegative, "Weight of the alignment of the critics' gradients; 0 is SAC-N."] = 1.0
    max_backup: Annotated[bool, "Whether targets take each online critic's best of `n_actions` at s'."] = (
        False
    )
    n_actions: Annotated[Count, "Actions drawn at s' with max_backup."] = 10
    n_critics: Annotated[Count, "Critics in the ensemble; more are more pessimistic."] = 10
    encoder = MLPEncoder(hidden_sizes=(256, 256, 256))

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2110.01548"
    impl_class = EDACImpl

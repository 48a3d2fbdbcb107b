"""EDAC: ensemble-diversified actor-critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.edac_impl import EDACImpl
from offlinekit.core.hyperparameters import Count, NonNegative
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class EDAC(SAC):
    """SAC-N whose critics are told to disagree in their gradients, so that fewer of them are enough.

    Source: An et al. 2021, arXiv:2110.01548.
    """

    eta: NonNegative = 1.0  # Weight of the alignment of the critics' gradients; 0 is SAC-N.
    max_backup: bool = (
        False  # Whether targets take each critic's best of `n_actions` next actions, no entropy.
    )
    n_actions: Count = 10  # Actions drawn at s' with max_backup.
    n_critics: Count = 10  # Critics in the ensemble; more are more pessimistic.
    encoder: Any = MLPEncoder(hidden_sizes=(256, 256, 256))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2110.01548"
    impl_class = EDACImpl

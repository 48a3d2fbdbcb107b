"""LB-SAC: SAC-N with large batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.sacn import SACN
from offlinekit.algos.torch.lbsac_impl import LBSACImpl
from offlinekit.core.hyperparameters import Count, Positive


@dataclass(kw_only=True, eq=False, repr=False)
class LBSAC(SACN):
    """SAC-N with large batches and rates, by which fewer critics are pessimistic enough and training is shorter.

    Source: Nikulin et al. 2022, arXiv:2211.11092.
    """

    batch_size: Count = 10_000  # Transitions in a minibatch.
    actor_learning_rate: Positive = 1.8e-3  # Of the policy; 3e-4 times the root of batch_size / 256, rounded.
    critic_learning_rate: Positive = 1.8e-3  # Of the critics; scaled alike.
    temperature_learning_rate: Positive = 1.8e-3  # Of the temperature; scaled alike.
    n_critics: Count = 10  # Critics in the ensemble; more are more pessimistic.
    critic_layer_norm: bool = True  # Whether the critics' hidden layers are normalised, each apart.

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2211.11092"
    impl_class = LBSACImpl

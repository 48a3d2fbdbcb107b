"""Advantage-weighted actor-critic for discrete actions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_awac_impl import DiscreteAWACImpl
from offlinekit.core.bases.q_learning import DiscreteActorCritic
from offlinekit.core.hyperparameters import Positive, Temperature


class DiscreteAWAC(DiscreteActorCritic):
    """AWAC over discrete actions: clones them weighted by exp(advantage).

    Source: Nair et al. 2020, arXiv:2006.09359, with a categorical policy.
    """

    temperature: Annotated[Temperature, "Of the weight exp(advantage / temperature); inf is cloning."] = 1.0
    max_weight: Annotated[Positive, "Bound of that weight."] = 100.0

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.09359"
    impl_class = DiscreteAWACImpl

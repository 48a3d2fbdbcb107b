"""Advantage-weighted actor-critic for discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.discrete_awac_impl import DiscreteAWACImpl
from offlinekit.core.bases.discrete_actor_critic import DiscreteActorCritic
from offlinekit.core.hyperparameters import NonNegative, Positive


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteAWAC(DiscreteActorCritic):
    """Clones discrete actions by the exponential of their advantage over the policy's own.

    Source: Nair et al. 2020, arXiv:2006.09359, with a categorical policy.
    """

    beta: NonNegative = 1.0  # Inverse temperature in 1 / units of return; 0 is behaviour cloning.
    max_weight: Positive = 100.0  # Bound of the weight exp(beta * advantage) of a cloned action.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.09359"
    impl_class = DiscreteAWACImpl

"""Implicit Q-learning for discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.discrete_iql_impl import DiscreteIQLImpl
from offlinekit.core.bases.discrete_actor_critic import DiscreteActorCritic
from offlinekit.core.hyperparameters import Fraction, NonNegative, Positive


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteIQL(DiscreteActorCritic):
    """IQL over discrete actions: values by expectile regression, a policy cloned by weight.

    Source: Kostrikov et al. 2021, arXiv:2110.06169, with a categorical policy.
    """

    expectile: Fraction = 0.7  # Of the value; towards 1 it approaches the best action in the data.
    beta: NonNegative = 3.0  # Inverse temperature in 1 / units of return; 0 is behaviour cloning.
    max_weight: Positive = 100.0  # Bound of the weight exp(beta * advantage) of a cloned action.
    value_learning_rate: Positive = 3e-4  # Of the state value.

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2110.06169"
    impl_class = DiscreteIQLImpl

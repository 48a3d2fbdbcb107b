"""Implicit Q-learning for discrete actions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_iql_impl import DiscreteIQLImpl
from offlinekit.core.bases.q_learning import DiscreteActorCritic
from offlinekit.core.hyperparameters import Fraction, NonNegative, Positive


class DiscreteIQL(DiscreteActorCritic):
    """IQL over discrete actions: expectile regression of values, and an advantage-weighted policy.

    Source: Kostrikov et al. 2021, arXiv:2110.06169, with a categorical policy.
    """

    expectile: Annotated[Fraction, "Of the value; towards 1 it approaches the best action in the data."] = 0.7
    beta: Annotated[NonNegative, "Inverse temperature in 1 / units of return; 0 is behaviour cloning."] = 3.0
    max_weight: Annotated[Positive, "Bound of the weight exp(beta * advantage) of a cloned action."] = 100.0
    value_learning_rate: Annotated[Positive, "Of the state value."] = 3e-4

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2110.06169"
    impl_class = DiscreteIQLImpl

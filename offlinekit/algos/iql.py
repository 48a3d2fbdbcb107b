"""Implicit Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Fraction, NonNegative, Positive


class IQL(ActorCritic):
    """Implicit Q-learning: values by expectile regression, which never query actions outside of the data.

    Source: Kostrikov et al. 2021, arXiv:2110.06169.
    """

    expectile: Annotated[Fraction, "Of the value; towards 1 it approaches the best action in the data."] = 0.7
    beta: Annotated[NonNegative, "Inverse temperature in 1 / units of return; 0 is behaviour cloning."] = 3.0
    max_weight: Annotated[Positive, "Bound of the weight exp(beta * advantage) of a cloned action."] = 100.0
    value_learning_rate: Annotated[Positive, "Of the state value."] = 3e-4
    actor_lr_schedule = "cosine"

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2110.06169"
    impl_class = IQLImpl

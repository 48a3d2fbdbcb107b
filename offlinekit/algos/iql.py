"""Implicit Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.iql_impl import IQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Fraction, NonNegative, Positive, Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class IQL(ActorCritic):
    """Learns values by expectile regression, never asking for an action outside the data.

    Source: Kostrikov et al. 2021, arXiv:2110.06169.
    """

    expectile: Fraction = 0.7  # Of the value; towards 1 it approaches the best action in the data.
    beta: NonNegative = 3.0  # Inverse temperature in 1 / units of return; 0 is behaviour cloning.
    max_weight: Positive = 100.0  # Bound of the weight exp(beta * advantage) of a cloned action.
    value_learning_rate: Positive = 3e-4  # Of the state value.
    actor_lr_schedule: Schedule | None = "cosine"  # Of the policy's learning rate; cosine ends at 0.

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2110.06169"
    impl_class = IQLImpl

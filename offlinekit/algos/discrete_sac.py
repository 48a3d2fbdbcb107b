"""Soft actor-critic for discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.discrete_sac_impl import DiscreteSACImpl
from offlinekit.core.bases.discrete_actor_critic import DiscreteActorCritic
from offlinekit.core.hyperparameters import Positive


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteSAC(DiscreteActorCritic):
    """Maximises return and entropy over discrete actions with a learned temperature; an online method.

    Source: Christodoulou 2019, arXiv:1910.07207.
    """

    temperature_learning_rate: Positive = 3e-4  # Of the temperature.
    initial_temperature: Positive = 1.0  # Weight of the entropy at the start, in units of return.
    target_entropy: float | None = None  # Of the policy, in nats; None for 0.98 log(number of actions).

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1910.07207"
    impl_class = DiscreteSACImpl

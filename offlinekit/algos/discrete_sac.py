"""Soft actor-critic for discrete actions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_sac_impl import DiscreteSACImpl
from offlinekit.core.bases.q_learning import DiscreteActorCritic
from offlinekit.core.hyperparameters import Finite, Positive


class DiscreteSAC(DiscreteActorCritic):
    """Soft actor-critic over discrete actions, with a learned temperature; an online method.

    Source: Christodoulou 2019, arXiv:1910.07207.
    """

    temperature_learning_rate: Annotated[Positive, "Of the temperature."] = 3e-4
    initial_temperature: Annotated[Positive, "Weight of the entropy at the start, in units of return."] = 1.0
    target_entropy: Annotated[Finite | None, "Of the policy, in nats; None for 0.98 log(actions)."] = None

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1910.07207"
    impl_class = DiscreteSACImpl

"""Soft actor-critic."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Finite, LogStd, Positive


class SAC(ActorCritic):
    """Soft actor-critic with a learned temperature; an online method.

    Source: Haarnoja et al. 2018, arXiv:1812.05905.
    """

    temperature_learning_rate: Annotated[Positive, "Of the temperature."] = 3e-4
    initial_temperature: Annotated[Positive, "Weight of the entropy at the start, in units of return."] = 1.0
    target_entropy: Annotated[Finite | None, "Of the policy, in nats; None: minus action dimensions."] = None
    log_std_min: Annotated[LogStd, "Lower bound of the log standard deviation before squashing."] = -20.0

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1812.05905"
    impl_class = SACImpl

"""Soft actor-critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Positive


@dataclass(kw_only=True, eq=False, repr=False)
class SAC(ActorCritic):
    """Maximises return and entropy with a learned temperature; an online method.

    Source: Haarnoja et al. 2018, arXiv:1812.05905.
    """

    temperature_learning_rate: Positive = 3e-4  # Of the temperature.
    initial_temperature: Positive = 1.0  # Weight of the entropy at the start, in units of return.
    target_entropy: float | None = None  # Of the policy, in nats; None for minus the action dimensions.
    log_std_min: float = -20.0  # Lower bound of the policy's log standard deviation, before squashing.

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1812.05905"
    impl_class = SACImpl

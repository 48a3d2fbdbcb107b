"""Hyperparameters that discrete actor-critic fronts have in common."""

from __future__ import annotations

from typing import Annotated

from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import Count, Positive


class DiscreteActorCritic(QLearning):
    """Discrete actions: a categorical policy and an ensemble of critics."""

    actor_learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    n_critics: Annotated[Count, "Critics in the ensemble; the lowest counts."] = 2
    target_update_interval = 1
    tau = 0.005
    td_loss = "mse"

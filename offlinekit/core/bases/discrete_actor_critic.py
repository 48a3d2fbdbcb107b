"""Hyperparameters that discrete actor-critic fronts have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import Count, Positive, Rate


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteActorCritic(QLearning):
    """Discrete actions: a categorical policy and an ensemble of critics."""

    actor_learning_rate: Positive = 3e-4  # Of the policy.
    n_critics: Count = 2  # Critics in the ensemble; the lowest counts.
    target_update_interval: Count = 1  # Updates between two updates of the target.
    tau: Rate = 0.005  # Share of the online network that enters its target at each update of the target.
    td_loss: Literal["huber", "mse"] = "mse"  # Of the temporal difference with q_function="mean".

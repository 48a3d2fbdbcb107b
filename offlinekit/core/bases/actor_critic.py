"""Hyperparameters that actor-critic fronts have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, QKind, Rate, Schedule


@dataclass(kw_only=True, eq=False, repr=False)
class ActorCritic(Algo):
    """Continuous actions: a policy and an ensemble of critics."""

    actor_learning_rate: Positive = 3e-4  # Of the policy.
    critic_learning_rate: Positive = 3e-4  # Of the critics.
    actor_lr_schedule: Schedule | None = None  # Of the policy's learning rate; None takes `lr_schedule`.
    critic_encoder: Any = None  # Of the critics; None takes `encoder`.
    n_critics: Count = 2  # Critics in the ensemble.
    tau: Rate = 0.005  # Share of the online network that enters its target at each update of the target.
    q_function: QKind = "mean"  # What critics learn of the return: its mean, or quantiles ("qr").
    n_quantiles: Count = 32  # Quantiles of the return with q_function="qr".

    action_kind: ClassVar[str] = "continuous"

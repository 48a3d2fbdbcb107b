"""Hyperparameters that Q-learning fronts have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, QKind, Rate


@dataclass(kw_only=True, eq=False, repr=False)
class QLearning(Algo):
    """Discrete actions: an ensemble of critics, each with one output an action."""

    learning_rate: Positive = 3e-4  # Of the critics.
    n_critics: Count = 1  # Critics in the ensemble; their mean chooses, the lowest is the target.
    target_update_interval: Count = 100  # Updates between two updates of the target.
    tau: Rate = 1.0  # Share of the critics that enters their target at each of its updates; 1 copies them.
    td_loss: Literal["huber", "mse"] = "huber"  # Of the temporal difference with q_function="mean".
    q_function: QKind = "mean"  # What critics learn of the return: its mean, or quantiles ("qr").
    n_quantiles: Count = 200  # Quantiles of the return with q_function="qr".

    action_kind: ClassVar[str] = "discrete"

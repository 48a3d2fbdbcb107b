"""Hyperparameters that Q-learning fronts have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, QKind, Rate, TDLoss


class QLearning(Algo):
    """Discrete actions: an ensemble of critics, each with one output an action."""

    learning_rate: Annotated[Positive, "Of the critics."] = 3e-4
    n_critics: Annotated[Count, "Critics in the ensemble; their mean chooses, the lowest is the target."] = 1
    target_update_interval: Annotated[Count, "Updates between two updates of the target."] = 100
    tau: Annotated[Rate, "Share of the critics that enters their target at each update; 1 copies them."] = 1.0
    td_loss: Annotated[TDLoss, "Of the temporal difference with q_function='mean'."] = "huber"
    q_function: Annotated[QKind, "What critics learn of the return: its mean, or quantiles ('qr')."] = "mean"
    n_quantiles: Annotated[Count, "Quantiles of the return with q_function='qr'."] = 200

    action_kind: ClassVar[str] = "discrete"

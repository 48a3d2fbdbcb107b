"""Hyperparameters that actor-critic fronts have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, EncoderLike, Positive, QKind, Rate, Schedule


class ActorCritic(Algo):
    """Continuous actions: a policy and an ensemble of critics."""

    actor_learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    critic_learning_rate: Annotated[Positive, "Of the critics."] = 3e-4
    actor_lr_schedule: Annotated[Schedule | None, "Of the policy's rate; None takes `lr_schedule`."] = None
    critic_encoder: Annotated[EncoderLike | None, "Of the critics; None takes `encoder`."] = None
    n_critics: Annotated[Count, "Critics in the ensemble."] = 2
    tau: Annotated[Rate, "Share of a network that enters its target at each of its updates."] = 0.005
    q_function: Annotated[QKind, "What critics learn of the return: its mean, or quantiles ('qr')."] = "mean"
    n_quantiles: Annotated[Count, "Quantiles of the return with q_function='qr'."] = 32

    action_kind: ClassVar[str] = "continuous"

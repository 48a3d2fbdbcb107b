"""Extreme Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.xql_impl import XQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Schedule, Steps


@dataclass(kw_only=True, eq=False, repr=False)
class XQL(ActorCritic):
    """IQL whose value is the soft maximum over the data's actions, learned by Gumbel regression.

    Source: Garg et al. 2023, arXiv:2301.02328.
    """

    temperature: Positive = 2.0  # Of the soft maximum, in units of return; towards 0 it is the best action.
    max_exponent: Positive = 7.0  # Bound of (Q - V) / temperature in the value's loss.
    beta: NonNegative = 3.0  # Inverse temperature of the policy in 1 / units of return; 0 is cloning.
    max_weight: Positive = 100.0  # Bound of the weight exp(beta * advantage) of a cloned action.
    value_learning_rate: Positive = 3e-4  # Of the state value.
    value_encoder: Any = None  # Of the state value; None takes the critics'.
    huber_width: Positive | None = None  # Of the critics' loss, in units of return; None for squared errors.
    action_noise: NonNegative = 0.0  # Standard deviation of noise on the actions at which V meets Q.
    n_random_actions: Steps = 0  # Uniform actions a row at which V meets Q too.
    n_value_updates: Count = 1  # Updates of V in each update.
    actor_lr_schedule: Schedule | None = "cosine"  # Of the policy's learning rate; cosine ends at 0.

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2301.02328"
    impl_class = XQLImpl

"""InAC: the in-sample actor-critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.in_ac_impl import InACImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Positive


@dataclass(kw_only=True, eq=False, repr=False)
class InAC(ActorCritic):
    """Approximates the softmax of the values over the actions in the data, whatever their frequency.

    Source: Xiao et al. 2023, arXiv:2302.14372.
    """

    temperature: Positive = 0.33  # Of the softmax, in units of return; towards 0 it is the best action.
    max_weight: Positive = 1e4  # Bound of the weight of a cloned action.
    value_critics: Literal["online", "target"] = "online"  # Whose values the state value learns.
    clip_actions: bool = True  # Whether drawn actions are clipped to [-1, 1] before they are valued.
    log_std: Literal["clipped", "sigmoid"] = (
        "clipped"  # In [-5, 2] from 0, or in [-6, 0] by a sigmoid from -3.
    )
    value_learning_rate: Positive = 3e-4  # Of the state value.
    behaviour_learning_rate: Positive = 3e-4  # Of the behaviour model.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2302.14372"
    impl_class = InACImpl

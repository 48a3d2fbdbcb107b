"""InAC: the in-sample actor-critic."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.in_ac_impl import InACImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Positive


class InAC(ActorCritic):
    """In-sample actor-critic: an entropy-regularised backup (in-sample softmax) over actions of the data alone.

    Source: Xiao et al. 2023, arXiv:2302.14372.
    """

    temperature: Annotated[Positive, "Of the softmax, in units of return; towards 0 the best action."] = 0.33
    max_weight: Annotated[Positive, "Bound of the weight of a cloned action."] = 1e4
    value_critics: Annotated[Literal["online", "target"], "Whose values the state value learns."] = "online"
    clip_actions: Annotated[bool, "Whether drawn actions are clipped before they are valued."] = True
    log_std: Annotated[
        Literal["clipped", "sigmoid"], "In [-5, 2] from 0 on, or in [-6, 0] by a sigmoid from -3 on."
    ] = "clipped"
    value_learning_rate: Annotated[Positive, "Of the state value."] = 3e-4
    behaviour_learning_rate: Annotated[Positive, "Of the behaviour model."] = 3e-4

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2302.14372"
    impl_class = InACImpl

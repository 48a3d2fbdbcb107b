"""Flow Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from offlinekit.algos.torch.fql_impl import FQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class FQL(ActorCritic):
    """A flow clones the data, however many ways of acting they hold; a policy near it seeks value in one step.

    Source: Park et al. 2025, arXiv:2502.02538.
    """

    alpha: NonNegative = 10.0  # Weight of the distance to the flow, in units of return; large is cloning.
    flow_steps: Count = 10  # Euler steps in which the flow turns noise into an action.
    target_value: Literal["mean", "min"] = "mean"  # What targets take of the critics' values.
    critic_layer_norm: bool = True  # Whether the critics' hidden layers are normalised.
    encoder: Any = MLPEncoder((512, 512, 512, 512), "gelu")  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2502.02538"
    impl_class = FQLImpl

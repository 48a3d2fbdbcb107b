"""Flow Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.fql_impl import FQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative
from offlinekit.nn.encoders import MLPEncoder


class FQL(ActorCritic):
    """Flow Q-learning: a flow clones the data, and a one-step policy distilled from it maximises Q.

    Source: Park et al. 2025, arXiv:2502.02538.
    """

    alpha: Annotated[NonNegative, "Weight of the distance to the flow; towards infinity cloning."] = 10.0
    flow_steps: Annotated[Count, "Euler steps in which the flow turns noise into an action."] = 10
    n_candidates: Annotated[
        Count | None,
        "Drawn noises, the same in all states, of which `predict` takes the best; None: noise 0.",
    ] = 1
    target_value: Annotated[Literal["mean", "min"], "What targets take of the critics' values."] = "mean"
    critic_layer_norm: Annotated[bool, "Whether the critics' hidden layers are normalised."] = True
    encoder = MLPEncoder((512, 512, 512, 512), "gelu")

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2502.02538"
    impl_class = FQLImpl

"""Best of N from a flow."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.bfn_impl import BFNImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count
from offlinekit.nn.encoders import MLPEncoder


class BFN(ActorCritic):
    """Best of N: a flow clones the data, and the best of its N actions by the critics acts and enters targets.

    Source: the baseline of that name in Li et al. 2025, arXiv:2507.07969.
    """

    n_candidates: Annotated[Count, "Actions of the flow, of which the best is taken; 1 is cloning."] = 32
    flow_steps: Annotated[Count, "Euler steps in which the flow turns noise into an action."] = 10
    target_value: Annotated[Literal["mean", "min"], "What targets and choices take of the critics."] = "mean"
    critic_layer_norm: Annotated[bool, "Whether the critics' hidden layers are normalised."] = True
    encoder = MLPEncoder((512, 512, 512, 512), "gelu")

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2507.07969"
    impl_class = BFNImpl

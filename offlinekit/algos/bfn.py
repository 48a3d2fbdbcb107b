"""Best of N from a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from offlinekit.algos.torch.bfn_impl import BFNImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class BFN(ActorCritic):
    """A flow clones the data, and the best of N of its actions by the critics is taken, in targets as in acting.

    Source: the baseline of that name in Li et al. 2025, arXiv:2507.07969.
    """

    n_candidates: Count = 32  # Actions drawn from the flow, of which the best is taken; 1 is cloning.
    flow_steps: Count = 10  # Euler steps in which the flow turns noise into an action.
    target_value: Literal["mean", "min"] = "mean"  # What targets and choices take of the critics' values.
    critic_layer_norm: bool = True  # Whether the critics' hidden layers are normalised.
    encoder: Any = MLPEncoder((512, 512, 512, 512), "gelu")  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2507.07969"
    impl_class = BFNImpl

"""Implicit flow Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.ifql_impl import IFQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Fraction, Positive
from offlinekit.nn.encoders import MLPEncoder


class IFQL(ActorCritic):
    """IQL's critics with a flow policy that clones the data; the best of N samples acts.

    Source: the baseline of that name in Park et al. 2025, arXiv:2502.02538; IDQL (arXiv:2304.10573) with a flow.
    """

    expectile: Annotated[Fraction, "Of the value; towards 1 it approaches the best action in the data."] = 0.9
    n_candidates: Annotated[Count, "Actions of the flow, of which the best is taken; 1 is cloning."] = 32
    flow_steps: Annotated[Count, "Euler steps in which the flow turns noise into an action."] = 10
    value_learning_rate: Annotated[Positive, "Of the state value."] = 3e-4
    critic_layer_norm: Annotated[bool, "Whether hidden layers of critics and value are normalised."] = True
    encoder = MLPEncoder((512, 512, 512, 512), "gelu")

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2502.02538"
    impl_class = IFQLImpl

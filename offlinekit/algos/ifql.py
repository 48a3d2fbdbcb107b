"""Implicit flow Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.ifql_impl import IFQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Fraction, Positive
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class IFQL(ActorCritic):
    """IQL's values, a flow that clones the data, and the best of N of its actions when acting.

    Source: the baseline of that name in Park et al. 2025, arXiv:2502.02538; IDQL (arXiv:2304.10573) with a flow.
    """

    expectile: Fraction = 0.9  # Of the value; towards 1 it approaches the best action in the data.
    n_candidates: Count = 32  # Actions drawn from the flow, of which the best is taken; 1 is cloning.
    flow_steps: Count = 10  # Euler steps in which the flow turns noise into an action.
    value_learning_rate: Positive = 3e-4  # Of the state value.
    critic_layer_norm: bool = True  # Whether hidden layers of the critics and the state value are normalised.
    encoder: Any = MLPEncoder((512, 512, 512, 512), "gelu")  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2502.02538"
    impl_class = IFQLImpl

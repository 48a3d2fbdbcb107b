"""ReBRAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.td3 import TD3
from offlinekit.algos.torch.rebrac_impl import ReBRACImpl
from offlinekit.core.hyperparameters import Count, NonNegative, Positive
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class ReBRAC(TD3):
    """TD3 whose actor and targets both pay for leaving the data's actions, each by its own weight.

    Source: Tarasov et al. 2023, arXiv:2305.09836.
    """

    actor_penalty: NonNegative = 0.01  # Weight of the squared distance to the data's action.
    critic_penalty: NonNegative = 0.01  # Weight of that of the next action in targets, in units of return.
    actor_learning_rate: Positive = 1e-3  # Of the policy.
    critic_learning_rate: Positive = 1e-3  # Of the critics.
    batch_size: Count = 1024  # Transitions in a minibatch.
    encoder: Any = MLPEncoder(hidden_sizes=(256, 256, 256))  # noqa: RUF009  # What sees the observation; frozen.
    critic_encoder: Any = MLPEncoder((256, 256, 256), layer_norm=True)  # noqa: RUF009  # Of the critics; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2305.09836"
    short_name: ClassVar[str] = "rebrac"
    impl_class = ReBRACImpl

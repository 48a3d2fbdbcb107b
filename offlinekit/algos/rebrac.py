"""ReBRAC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.td3 import TD3
from offlinekit.algos.torch.rebrac_impl import ReBRACImpl
from offlinekit.core.hyperparameters import NonNegative, Probability
from offlinekit.nn.encoders import MLPEncoder


class ReBRAC(TD3):
    """TD3 with separate behaviour-cloning penalties in the actor's objective and in the critics' targets.

    Source: Tarasov et al. 2023, arXiv:2305.09836.
    """

    actor_penalty: Annotated[NonNegative, "Weight of the squared distance to the data's action."] = 0.01
    critic_penalty: Annotated[NonNegative, "Weight of the next action's, in targets; units of return."] = 0.01
    cooling_end: Annotated[Probability, "Online, share of actor_penalty that it falls to, linearly."] = 0.5
    online_critic_share: Annotated[Probability, "Online, share of critic_penalty that is left."] = 0.0
    actor_learning_rate = 1e-3
    critic_learning_rate = 1e-3
    batch_size = 1024
    encoder = MLPEncoder(hidden_sizes=(256, 256, 256))
    critic_encoder = MLPEncoder((256, 256, 256), layer_norm=True)

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2305.09836"
    short_name: ClassVar[str] = "rebrac"
    online_settings: ClassVar[Mapping[str, Any]] = {"mixing": "symmetric"}
    impl_class = ReBRACImpl

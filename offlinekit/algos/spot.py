"""Supported policy optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.td3 import TD3
from offlinekit.algos.torch.spot_impl import SPOTImpl
from offlinekit.core.bases.actor_critic import Generative
from offlinekit.core.hyperparameters import NonNegative, Probability, Steps
from offlinekit.nn.encoders import MLPEncoder


class SPOT(Generative, TD3):
    """TD3 regularised by the density that a VAE of the data gives to the actor's actions.

    Source: Wu et al. 2022, arXiv:2202.06239.
    """

    support_weight: Annotated[NonNegative, "Weight of the model's -log density beside the value's 1."] = 0.1
    warmup_steps: Annotated[Steps, "First updates, of the VAE alone; it is fixed afterwards."] = 100_000
    cooling_end: Annotated[Probability, "Online, share of support_weight that it falls to, linearly."] = 0.2
    encoder = MLPEncoder(dropout=0.1)
    critic_encoder = MLPEncoder()

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2202.06239"
    online_settings: ClassVar[Mapping[str, Any]] = {"noise": 0.1}
    impl_class = SPOTImpl

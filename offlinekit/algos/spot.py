"""Supported policy optimisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.td3 import TD3
from offlinekit.algos.torch.spot_impl import SPOTImpl
from offlinekit.core.bases.generative import Generative
from offlinekit.core.hyperparameters import NonNegative, Steps
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class SPOT(Generative, TD3):
    """TD3 whose actor is held to actions that a model of the data finds likely.

    Source: Wu et al. 2022, arXiv:2202.06239.
    """

    support_weight: NonNegative = 0.1  # Weight of minus the model's log density against the normalised value.
    warmup_steps: Steps = 100_000  # Updates at the start that train the VAE alone; it is fixed afterwards.
    encoder: Any = MLPEncoder(dropout=0.1)  # noqa: RUF009  # What sees the observation; frozen.
    critic_encoder: Any = MLPEncoder()  # noqa: RUF009  # Of the critics; None takes `encoder`, with its dropout.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2202.06239"
    impl_class = SPOTImpl

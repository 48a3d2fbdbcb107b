"""Implicit diffusion Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.idql_impl import IDQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import (
    Count,
    EncoderLike,
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Rate,
)
from offlinekit.nn.encoders import MLPEncoder, ResidualEncoder


class IDQL(ActorCritic):
    """IQL's critics with a diffusion policy that clones the data; the best of N samples acts.

    Source: Hansen-Estruch et al. 2023, arXiv:2304.10573.
    """

    expectile: Annotated[Fraction, "Of the value; towards 1 it approaches the best action in the data."] = 0.7
    n_candidates: Annotated[Count, "Actions of the diffusion, of which one is taken."] = 64
    diffusion_steps: Annotated[Count, "Steps in which noise becomes an action."] = 5
    actor_tau: Annotated[Rate, "Share of the diffusion that enters the average which acts."] = 0.001
    value_learning_rate: Annotated[Positive, "Of the state value."] = 3e-4
    value_encoder: Annotated[EncoderLike | None, "Of the state value; None takes the critics'."] = None
    actor_weight_decay: Annotated[NonNegative | None, "Of the diffusion, by adamw; None: as all."] = None
    time_width: Annotated[int, Interval("[4, inf)"), "Units of the layers that see the step's number."] = 128
    actor_lr_schedule = "cosine"
    batch_size = 512
    encoder = ResidualEncoder()
    critic_encoder = MLPEncoder()

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2304.10573"
    impl_class = IDQLImpl

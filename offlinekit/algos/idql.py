"""Implicit diffusion Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from offlinekit.algos.torch.idql_impl import IDQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Fraction, Interval, NonNegative, Positive, Rate, Schedule
from offlinekit.nn.encoders import MLPEncoder, ResidualEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class IDQL(ActorCritic):
    """IQL's values, a diffusion that clones the data, and a choice among N of its actions when acting.

    Source: Hansen-Estruch et al. 2023, arXiv:2304.10573.
    """

    expectile: Fraction = 0.7  # Of the value; towards 1 it approaches the best action in the data.
    n_candidates: Count = 64  # Actions drawn from the diffusion when acting, of which one is taken.
    diffusion_steps: Count = 5  # Steps in which noise becomes an action.
    actor_tau: Rate = 0.001  # Share of the diffusion that enters its average, which acts, at each update.
    value_learning_rate: Positive = 3e-4  # Of the state value.
    value_encoder: Any = None  # Of the state value; None takes the critics'.
    actor_weight_decay: NonNegative | None = None  # Of the diffusion, by adamw; None: as the other losses.
    time_width: Annotated[int, Interval("[4, inf)")] = (
        128  # Units of the layers over the step's sines and cosines.
    )
    actor_lr_schedule: Schedule | None = "cosine"  # Of the diffusion's learning rate; cosine ends at 0.
    batch_size: Count = 512  # Transitions in a minibatch.
    encoder: Any = ResidualEncoder()  # noqa: RUF009  # What sees the observation in the diffusion; frozen.
    critic_encoder: Any = MLPEncoder()  # noqa: RUF009  # Of critics and value; None takes `encoder`.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2304.10573"
    impl_class = IDQLImpl

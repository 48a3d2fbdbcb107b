"""Extreme Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.xql_impl import XQLImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import EncoderLike, Interval, NonNegative, Positive, Steps


class XQL(ActorCritic):
    """Extreme Q-learning: IQL whose value is a soft maximum over actions of the data, by Gumbel regression.

    Source: Garg et al. 2023, arXiv:2301.02328.
    """

    temperature: Annotated[Positive, "Of the soft maximum, in units of return; towards 0 the best."] = 2.0
    max_exponent: Annotated[Positive, "Bound of (Q - V) / temperature in the value's loss."] = 7.0
    beta: Annotated[NonNegative, "Inverse temperature of the policy, 1 / units of return; 0 clones."] = 3.0
    max_weight: Annotated[Positive, "Bound of the weight exp(beta * advantage) of a cloned action."] = 100.0
    value_learning_rate: Annotated[Positive, "Of the state value."] = 3e-4
    value_encoder: Annotated[EncoderLike | None, "Of the state value; None takes the critics'."] = None
    huber_width: Annotated[Positive | None, "Of the critics' loss, in units of return; None: squares."] = None
    action_noise: Annotated[NonNegative, "Standard deviation of noise on actions where V meets Q."] = 0.0
    n_random_actions: Annotated[Steps, "Uniform actions a row where V meets Q beside the data's."] = 0
    n_value_updates: Annotated[int, Interval("[1, 1000]"), "Steps of V in each update."] = 1
    actor_lr_schedule = "cosine"

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2301.02328"
    impl_class = XQLImpl

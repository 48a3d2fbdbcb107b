"""Lower expectile Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.dynamics import Dynamics
from offlinekit.algos.torch.leq_impl import LEQImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.bases.model_based import ModelBased
from offlinekit.core.hyperparameters import Count, Fraction, NonNegative, Probability
from offlinekit.nn.encoders import MLPEncoder


class LEQ(ModelBased, ActorCritic):
    """Lower expectile Q-learning: critics and policy by low expectiles of lambda-returns of model rollouts.

    Source: Park and Lee 2024, arXiv:2407.00699.
    """

    expectile: Annotated[Fraction, "Of imagined returns; the lower, the more pessimistic."] = 0.1
    td_lambda: Annotated[
        Fraction, "Of imagined returns: towards 0 their value, towards 1 all lengths alike."
    ] = 0.95
    horizon: Annotated[Count, "Steps of imagined returns."] = 10
    imagined_weight: Annotated[
        Probability, "Of imagined returns in the critics' loss, beside recorded rows."
    ] = 0.25
    rollout_noise: Annotated[
        NonNegative, "Deviation of noise on the actions of rollouts, before squashing."
    ] = 1.0
    anchor_weight: Annotated[NonNegative, "Of the squared distance to the target copy's values."] = 1.0
    gamma = 0.997
    n_critics = 1
    batch_size = 512
    real_share = 0.5
    actor_learning_rate = 3e-5
    critic_learning_rate = 1e-4
    actor_lr_schedule = "cosine"
    encoder = MLPEncoder(hidden_sizes=(256, 256, 256))
    critic_encoder = MLPEncoder((256, 256, 256), layer_norm=True)

    family: ClassVar[str] = "MB"
    paper: ClassVar[str] = "arXiv:2407.00699"
    dynamics_class = Dynamics
    impl_class = LEQImpl

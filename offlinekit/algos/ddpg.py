"""Deep deterministic policy gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.ddpg_impl import DDPGImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Positive, Rate
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class DDPG(ActorCritic):
    """Deterministic actor that climbs one critic; an online method.

    Source: Lillicrap et al. 2016, arXiv:1509.02971.
    """

    n_critics: Count = 1  # Critics in the ensemble; of several, the lowest makes the target.
    tau: Rate = 0.001  # Share of the online networks that enters their targets at each update.
    actor_learning_rate: Positive = 1e-4  # Of the policy.
    critic_learning_rate: Positive = 1e-3  # Of the critics.
    batch_size: Count = 64  # Transitions in a minibatch.
    encoder: Any = MLPEncoder(hidden_sizes=(400, 300))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1509.02971"
    impl_class = DDPGImpl

"""Deep deterministic policy gradient."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.ddpg_impl import DDPGImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count
from offlinekit.nn.encoders import MLPEncoder


class DDPG(ActorCritic):
    """Deep deterministic policy gradient: a deterministic actor and one critic; an online method.

    Source: Lillicrap et al. 2016, arXiv:1509.02971.
    """

    n_critics: Annotated[Count, "Critics in the ensemble; of several, the lowest makes the target."] = 1
    tau = 0.001
    actor_learning_rate = 1e-4
    critic_learning_rate = 1e-3
    batch_size = 64
    encoder = MLPEncoder(hidden_sizes=(400, 300))

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1509.02971"
    impl_class = DDPGImpl

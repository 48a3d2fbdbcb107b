"""Twin delayed deep deterministic policy gradient."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.td3_impl import TD3Impl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative


class TD3(ActorCritic):
    """Twin delayed DDPG: twin critics, smoothed target actions, delayed policy updates; an online method.

    Source: Fujimoto et al. 2018, arXiv:1802.09477.
    """

    target_noise: Annotated[NonNegative, "Deviation of target actions' noise, actions in [-1, 1]."] = 0.2
    target_noise_clip: Annotated[NonNegative, "Bound of that noise."] = 0.5
    policy_delay: Annotated[Count, "The policy and the targets are updated at every such update."] = 2

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1802.09477"
    impl_class = TD3Impl

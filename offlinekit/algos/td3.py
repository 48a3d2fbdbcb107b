"""Twin delayed deep deterministic policy gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.td3_impl import TD3Impl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative


@dataclass(kw_only=True, eq=False, repr=False)
class TD3(ActorCritic):
    """Deterministic actor, twin critics, smoothed target actions, delayed policy updates; an online method.

    Source: Fujimoto et al. 2018, arXiv:1802.09477.
    """

    target_noise: NonNegative = 0.2  # Standard deviation of the noise on target actions, actions in [-1, 1].
    target_noise_clip: NonNegative = 0.5  # Bound of that noise.
    policy_delay: Count = 2  # The policy and the targets are updated at every such update.

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1802.09477"
    impl_class = TD3Impl

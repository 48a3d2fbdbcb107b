"""MSG: model standard-deviation gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.msg_impl import MSGImpl
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Steps


@dataclass(kw_only=True, eq=False, repr=False)
class MSG(SAC):
    """Critics that each learn from themselves alone; the policy climbs their lower confidence bound.

    Source: Ghasemipour et al. 2022, arXiv:2205.13703.
    """

    pessimism: NonNegative = 4.0  # Standard deviations below the mean of the critics; -beta of the paper.
    alpha: NonNegative | None = None  # Weight of the policy's values above the data's; None for no such term.
    n_critics: Count = 64  # Critics in the ensemble; 4 are cheaper.
    warmup_steps: Steps = 50_000  # Updates at the start in which the policy clones the data.
    actor_learning_rate: Positive = 3e-5  # Of the policy.
    target_entropy: float | None = 0.0  # Of the policy, in nats; None for minus the action dimensions.

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2205.13703"
    impl_class = MSGImpl

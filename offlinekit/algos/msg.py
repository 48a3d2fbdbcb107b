"""MSG: model standard-deviation gradients."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.msg_impl import MSGImpl
from offlinekit.core.hyperparameters import NonNegative, Steps


class MSG(SAC):
    """Independent critics, each with its own targets; the policy maximises their lower confidence bound.

    Source: Ghasemipour et al. 2022, arXiv:2205.13703.
    """

    pessimism: Annotated[NonNegative, "Deviations below the critics' mean; the paper's -beta."] = 4.0
    alpha: Annotated[NonNegative | None, "Weight of values above the data's; None for no such term."] = None
    n_critics = 64
    warmup_steps: Annotated[Steps, "Updates at the start in which the policy clones the data."] = 50_000
    actor_learning_rate = 3e-5
    target_entropy = 0.0

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2205.13703"
    impl_class = MSGImpl

"""Critic-regularised regression."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.crr_impl import CRRImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Positive


class CRR(ActorCritic):
    """Critic-regularised regression: clones the actions whose advantage is positive, or all by exp(advantage).

    Source: Wang et al. 2020, arXiv:2006.15134.
    """

    weight: Annotated[Literal["binary", "exp"], "Of an action: 1[advantage > 0], or exp(advantage)."] = "exp"
    advantage: Annotated[Literal["mean", "max"], "Over mean or best of `n_actions` of the policy."] = "mean"
    n_actions: Annotated[Count, "Actions of the policy that stand for its value."] = 4
    temperature: Annotated[Positive, "Of weight='exp' and of `sample_action`, in units of return."] = 1.0
    max_weight: Annotated[Positive, "Bound of weight='exp'."] = 20.0
    n_critics: Annotated[Count, "Critics in the ensemble; the lowest counts."] = 1
    tau = 1.0
    target_update_interval: Annotated[Count, "Updates between two updates of the targets."] = 100

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.15134"
    impl_class = CRRImpl

"""Critic-regularised regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.crr_impl import CRRImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Positive, Rate


@dataclass(kw_only=True, eq=False, repr=False)
class CRR(ActorCritic):
    """Clones the data's actions that the critic finds better than the policy's own.

    Source: Wang et al. 2020, arXiv:2006.15134.
    """

    weight: Literal["binary", "exp"] = "exp"  # Of a cloned action: 1[advantage > 0], or its exponential.
    advantage: Literal["mean", "max"] = "mean"  # Over the mean, or the best, of `n_actions` of the policy.
    n_actions: Count = 4  # Actions of the policy that stand for its value.
    temperature: Positive = 1.0  # Of weight="exp" and of the choice in `sample_action`, in units of return.
    max_weight: Positive = 20.0  # Bound of weight="exp".
    n_critics: Count = 1  # Critics in the ensemble; the lowest counts.
    tau: Rate = 1.0  # Share of the online networks that enters the targets at each update of these.
    target_update_interval: Count = 100  # Updates between two updates of the targets.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.15134"
    impl_class = CRRImpl

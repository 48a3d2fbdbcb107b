"""Critic-regularised regression for discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.discrete_crr_impl import DiscreteCRRImpl
from offlinekit.core.bases.discrete_actor_critic import DiscreteActorCritic
from offlinekit.core.hyperparameters import NonNegative, Positive


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteCRR(DiscreteActorCritic):
    """Clones the discrete actions that the critics find better than the policy's own, and no others.

    Source: Wang et al. 2020, arXiv:2006.15134, with a categorical policy and an optional term of CQL.
    """

    weight: Literal["binary", "exp"] = "binary"  # Of a cloned action: 1[A > 0], or exp(beta A).
    beta: NonNegative = 1.0  # Inverse temperature of weight="exp", in 1 / units of return.
    max_weight: Positive = 20.0  # Bound of the weight with weight="exp".
    alpha: NonNegative = 0.0  # Weight of logsumexp Q - Q(data's action), in units of return; 0 is plain CRR.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.15134"
    impl_class = DiscreteCRRImpl

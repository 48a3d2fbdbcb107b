"""Critic-regularised regression for discrete actions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.discrete_crr_impl import DiscreteCRRImpl
from offlinekit.core.bases.q_learning import DiscreteActorCritic
from offlinekit.core.hyperparameters import NonNegative, Positive, Temperature


class DiscreteCRR(DiscreteActorCritic):
    """CRR over discrete actions: clones those with a positive advantage.

    Source: Wang et al. 2020, arXiv:2006.15134, with a categorical policy and an optional term of CQL.
    """

    weight: Annotated[Literal["binary", "exp"], "Of an action: 1[A > 0] or exp(A / temperature)."] = "binary"
    temperature: Annotated[Temperature, "Of weight='exp', in units of return; inf is cloning."] = 1.0
    max_weight: Annotated[Positive, "Bound of the weight with weight='exp'."] = 20.0
    alpha: Annotated[NonNegative, "Weight of logsumexp Q - Q(data's action); 0 is plain CRR."] = 0.0

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.15134"
    impl_class = DiscreteCRRImpl

"""Behaviour cloning of discrete actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.discrete_bc_impl import DiscreteBCImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import NonNegative, Positive


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteBC(Algo):
    """Behaviour cloning: classifies the data's discrete action from the observation.

    Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation".
    """

    learning_rate: Positive = 3e-4  # Of the policy.
    logits_penalty: NonNegative = 0.0  # Weight of the mean squared logit.

    family: ClassVar[str] = "IL"
    action_kind: ClassVar[str] = "discrete"
    paper: ClassVar[str] = "Pomerleau 1991"
    impl_class = DiscreteBCImpl

"""Behaviour cloning of discrete actions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_bc_impl import DiscreteBCImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import NonNegative, Positive


class DiscreteBC(Algo):
    """Behaviour cloning: classifies the discrete action of the data from the observation.

    Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation".
    """

    learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    logits_penalty: Annotated[NonNegative, "Weight of the mean squared logit."] = 0.0

    family: ClassVar[str] = "IL"
    action_kind: ClassVar[str] = "discrete"
    paper: ClassVar[str] = "Pomerleau 1991"
    impl_class = DiscreteBCImpl

"""Behaviour cloning."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Positive


class BC(Algo):
    """Behaviour cloning: predicts the continuous action of the data from the observation.

    Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation".
    """

    learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    policy: Annotated[Literal["deterministic", "gaussian"], "Squared error, or likelihood."] = "deterministic"

    family: ClassVar[str] = "IL"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "Pomerleau 1991"
    impl_class = BCImpl

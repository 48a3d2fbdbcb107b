"""Behaviour cloning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Positive


@dataclass(kw_only=True, eq=False, repr=False)
class BC(Algo):
    """Behaviour cloning: predicts the data's continuous action from the observation.

    Source: Pomerleau 1991, "Efficient training of artificial neural networks for autonomous navigation".
    """

    learning_rate: Positive = 3e-4  # Of the policy.
    policy: Literal["deterministic", "gaussian"] = "deterministic"  # Squared error, or maximum likelihood.

    family: ClassVar[str] = "IL"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "Pomerleau 1991"
    impl_class = BCImpl

"""Discrete batch-constrained Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_bcq_impl import DiscreteBCQImpl
from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import NonNegative, Probability


class DiscreteBCQ(QLearning):
    """Batch-constrained double DQN: chooses among the actions that a cloned policy finds likely enough.

    Source: Fujimoto et al. 2019, arXiv:1910.01708.
    """

    threshold: Annotated[Probability, "Smallest allowed probability, a share of the likeliest one."] = 0.3
    logits_penalty: Annotated[NonNegative, "Weight of the behaviour model's mean squared logit."] = 1e-2

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:1910.01708"
    impl_class = DiscreteBCQImpl

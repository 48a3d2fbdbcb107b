"""Discrete batch-constrained Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.torch.discrete_bcq_impl import DiscreteBCQImpl
from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import NonNegative, Probability


@dataclass(kw_only=True, eq=False, repr=False)
class DiscreteBCQ(QLearning):
    """Double DQN among the actions that a behaviour model finds likely enough.

    Source: Fujimoto et al. 2019, arXiv:1910.01708.
    """

    threshold: Probability = 0.3  # Smallest allowed probability, as a share of the likeliest action's.
    logits_penalty: NonNegative = 1e-2  # Weight of the behaviour model's mean squared logit.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:1910.01708"
    impl_class = DiscreteBCQImpl

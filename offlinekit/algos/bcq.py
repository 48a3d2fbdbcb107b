"""Batch-constrained Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.bcq_impl import BCQImpl
from offlinekit.core.bases.generative import Generative
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Probability
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class BCQ(Generative):
    """Takes the best of many actions that a model of the data generates, each moved a little.

    Source: Fujimoto et al. 2019, arXiv:1812.02900.
    """

    perturbation: NonNegative = 0.05  # Largest change of a generated action, actions in [-1, 1].
    min_weight: Probability = 0.75  # Weight of the lowest critic in targets; the highest has the rest.
    n_actions: Count = 10  # Generated actions of which a target takes the best.
    n_candidates: Count = 100  # Generated actions of which `predict` takes the best.
    actor_learning_rate: Positive = 1e-3  # Of the perturbation.
    critic_learning_rate: Positive = 1e-3  # Of the critics.
    batch_size: Count = 100  # Transitions in a minibatch.
    encoder: Any = MLPEncoder(hidden_sizes=(400, 300))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:1812.02900"
    impl_class = BCQImpl

"""Batch-constrained Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.bcq_impl import BCQImpl
from offlinekit.core.bases.actor_critic import Generative
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Probability
from offlinekit.nn.encoders import MLPEncoder


class BCQ(Generative):
    """Batch-constrained Q-learning: the best of actions that a VAE generates, each perturbed a little.

    Source: Fujimoto et al. 2019, arXiv:1812.02900.
    """

    perturbation: Annotated[NonNegative, "Largest change of a generated action, actions in [-1, 1]."] = 0.05
    min_weight: Annotated[Probability, "Weight of targets' lowest critic; the highest has the rest."] = 0.75
    n_actions: Annotated[Count, "Generated actions of which a target takes the best."] = 10
    n_candidates: Annotated[Count, "Generated actions of which `predict` takes the best."] = 100
    actor_learning_rate: Annotated[Positive, "Of the perturbation."] = 1e-3
    critic_learning_rate = 1e-3
    batch_size = 100
    encoder = MLPEncoder(hidden_sizes=(400, 300))

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:1812.02900"
    impl_class = BCQImpl

"""Bootstrapping error accumulation reduction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.bear_impl import BEARImpl
from offlinekit.core.bases.generative import Generative
from offlinekit.core.hyperparameters import Count, Positive, Probability, Steps


@dataclass(kw_only=True, eq=False, repr=False)
class BEAR(Generative):
    """Climbs the lowest critic while its actions stay where a model of the data puts them, however often.

    Source: Kumar et al. 2019, arXiv:1906.00949.
    """

    mmd_threshold: Positive = 0.05  # Discrepancy from the data's actions that is allowed.
    kernel: Literal["laplacian", "gaussian"] = "laplacian"  # By which actions are compared.
    kernel_width: Positive = 20.0  # Of the kernel, actions before tanh.
    n_matched: Count = 5  # Actions of policy and model that are compared.
    warmup_steps: Steps = 40_000  # Updates at the start in which the policy learns the discrepancy alone.
    min_weight: Probability = 0.75  # Weight of the lowest critic in targets; the highest has the rest.
    n_actions: Count = 10  # Actions of the policy of which a target takes the best.
    n_candidates: Count = 10  # Actions of the policy of which `predict` takes the best.
    actor_learning_rate: Positive = 1e-4  # Of the policy.
    vae_learning_rate: Positive = 3e-4  # Of the VAE.
    alpha_learning_rate: Positive = 1e-3  # Of the weight that holds the discrepancy at its threshold.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:1906.00949"
    impl_class = BEARImpl

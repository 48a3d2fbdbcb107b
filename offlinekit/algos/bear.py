"""Bootstrapping error accumulation reduction."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from offlinekit.algos.torch.bear_impl import BEARImpl
from offlinekit.core.bases.actor_critic import Generative
from offlinekit.core.hyperparameters import Count, Positive, Probability, Steps


class BEAR(Generative):
    """Maximises the lowest Q-value under an MMD constraint that keeps actions in the support of the data.

    Source: Kumar et al. 2019, arXiv:1906.00949.
    """

    mmd_threshold: Annotated[Positive, "Discrepancy from the data's actions that is allowed."] = 0.05
    kernel: Annotated[Literal["laplacian", "gaussian"], "By which actions are compared."] = "laplacian"
    kernel_width: Annotated[Positive, "Of the kernel, actions before tanh."] = 20.0
    n_matched: Annotated[Count, "Actions of policy and model that are compared."] = 5
    warmup_steps: Annotated[Steps, "First updates: the policy learns the discrepancy alone."] = 40_000
    min_weight: Annotated[Probability, "Weight of targets' lowest critic; the highest has the rest."] = 0.75
    n_actions: Annotated[Count, "Actions of the policy of which a target takes the best."] = 10
    n_candidates: Annotated[Count, "Actions of the policy of which `predict` takes the best."] = 10
    actor_learning_rate = 1e-4
    vae_learning_rate = 3e-4
    alpha_learning_rate: Annotated[Positive, "Of alpha, which holds the discrepancy at its threshold."] = 1e-3

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:1906.00949"
    impl_class = BEARImpl

"""Policy in the latent action space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.plas_impl import PLASImpl
from offlinekit.core.bases.generative import Generative
from offlinekit.core.hyperparameters import Count, Positive, Probability, Steps
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class PLAS(Generative):
    """Chooses the latent of a model of the data, so that every action is one that the model can generate.

    Source: Zhou et al. 2020, arXiv:2011.07213; PLAS+P with `perturbation`.
    """

    warmup_steps: Steps = 500_000  # Updates at the start that train the VAE alone; it is fixed afterwards.
    max_latent: Positive = 2.0  # Bound of each latent, in standard deviations of the prior.
    perturbation: Positive | None = None  # Largest change of a decoded action, such as 0.05; None for none.
    min_weight: Probability = 0.75  # Weight of the lowest critic in targets; the highest has the rest.
    vae_learning_rate: Positive = 1e-4  # Of the VAE.
    actor_learning_rate: Positive = 1e-4  # Of the policy and the perturbation.
    critic_learning_rate: Positive = 1e-3  # Of the critics.
    batch_size: Count = 100  # Transitions in a minibatch.
    encoder: Any = MLPEncoder(hidden_sizes=(400, 300))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2011.07213"
    impl_class = PLASImpl

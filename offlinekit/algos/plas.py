"""Policy in the latent action space."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.plas_impl import PLASImpl
from offlinekit.core.bases.actor_critic import Generative
from offlinekit.core.hyperparameters import Positive, Probability, Steps
from offlinekit.nn.encoders import MLPEncoder


class PLAS(Generative):
    """Policy in the latent action space: the actor acts through the decoder of a VAE of the data.

    Source: Zhou et al. 2020, arXiv:2011.07213; PLAS+P with `perturbation`.
    """

    warmup_steps: Annotated[Steps, "First updates, of the VAE alone; it is fixed afterwards."] = 500_000
    max_latent: Annotated[Positive, "Bound of each latent, in standard deviations of the prior."] = 2.0
    perturbation: Annotated[Positive | None, "Largest change of a decoded action; None for none."] = None
    min_weight: Annotated[Probability, "Weight of targets' lowest critic; the highest has the rest."] = 0.75
    vae_learning_rate = 1e-4
    actor_learning_rate: Annotated[Positive, "Of the policy and the perturbation."] = 1e-4
    critic_learning_rate = 1e-3
    batch_size = 100
    encoder = MLPEncoder(hidden_sizes=(400, 300))

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2011.07213"
    impl_class = PLASImpl

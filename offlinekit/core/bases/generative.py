"""Hyperparameters that fronts with a model of the behaviour have in common."""

from __future__ import annotations

from typing import Annotated

from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import EncoderLike, NonNegative, Positive
from offlinekit.nn.encoders import MLPEncoder


class Generative(ActorCritic):
    """A conditional VAE that generates actions as the data hold them."""

    vae_learning_rate: Annotated[Positive, "Of the VAE."] = 1e-3
    kl_weight: Annotated[NonNegative, "Of the divergence from the prior, beside the squared error."] = 0.5
    vae_encoder: Annotated[EncoderLike | None, "Of the VAE; None takes `encoder`."] = MLPEncoder((750, 750))

"""Hyperparameters that fronts with a model of the behaviour have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import NonNegative, Positive
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class Generative(ActorCritic):
    """A conditional VAE that generates actions as the data hold them."""

    vae_learning_rate: Positive = 1e-3  # Of the VAE.
    kl_weight: NonNegative = 0.5  # Of the divergence from the prior, beside the squared error.
    vae_encoder: Any = MLPEncoder(hidden_sizes=(750, 750))  # noqa: RUF009  # Of the VAE; None takes `encoder`.

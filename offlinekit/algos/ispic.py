"""In-sample policy iteration of two competitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.ispic_impl import ISPICImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Probability


@dataclass(kw_only=True, eq=False, repr=False)
class ISPIC(ActorCritic):
    """Two agents, each held to the data and, where the other is worth more, to the other (ISPI-C).

    Source: Hu et al. 2023, arXiv:2306.05726.
    """

    alpha: Positive = 2.5  # Weight of the value term against the distances.
    reference_weight: Probability = 0.5  # Of the distance to the other policy; the data's has the rest.
    target_noise: NonNegative = 0.2  # Standard deviation of the noise on target actions, actions in [-1, 1].
    target_noise_clip: NonNegative = 0.5  # Bound of that noise.
    batch_size: Count = 512  # Transitions in a minibatch, half of them for each agent.
    observation_scaler: Any = "standard"  # None, "standard", "minmax" or a Scaler; fitted on the data.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2306.05726"
    impl_class = ISPICImpl

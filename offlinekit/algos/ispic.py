"""In-sample policy iteration of two competitors."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.ispic_impl import ISPICImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, NonNegative, Positive, Probability


class ISPIC(ActorCritic):
    """Two TD3+BC agents, each regularised towards the data and towards the other where that is worth more (ISPI-C).

    Source: Hu et al. 2023, arXiv:2306.05726.
    """

    alpha: Annotated[Positive, "Weight of the value term against the distances."] = 2.5
    reference_weight: Annotated[Probability, "Of the other agent's distance; the data's has the rest."] = 0.5
    target_noise: Annotated[NonNegative, "Deviation of target actions' noise, actions in [-1, 1]."] = 0.2
    target_noise_clip: Annotated[NonNegative, "Bound of that noise."] = 0.5
    batch_size: Annotated[Count, "Transitions in a minibatch, half of them for each agent."] = 512
    observation_scaler = "standard"

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2306.05726"
    impl_class = ISPICImpl

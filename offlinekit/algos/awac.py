"""Advantage-weighted actor-critic."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.awac_impl import AWACImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, LogStd, Positive, Temperature
from offlinekit.nn.encoders import MLPEncoder


class AWAC(ActorCritic):
    """Advantage-weighted actor-critic: clones actions weighted by exp(advantage), and can go on online as it is.

    Source: Nair et al. 2020, arXiv:2006.09359.
    """

    temperature: Annotated[Temperature, "Of the weight exp(advantage / temperature); inf is cloning."] = 1 / 3
    max_weight: Annotated[Positive, "Bound of that weight."] = 100.0
    squash_mean: Annotated[bool, "Whether the policy's mean is tanh of its network, or the network."] = True
    log_std_min: Annotated[LogStd, "Lower bound of the policy's log standard deviation."] = -5.0
    n_actions: Annotated[Count, "Actions of the policy whose mean value is the state's."] = 1
    encoder = MLPEncoder(hidden_sizes=(256, 256, 256))

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.09359"
    impl_class = AWACImpl

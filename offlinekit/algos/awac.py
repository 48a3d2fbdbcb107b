"""Advantage-weighted actor-critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.awac_impl import AWACImpl
from offlinekit.core.bases.actor_critic import ActorCritic
from offlinekit.core.hyperparameters import Count, Positive
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class AWAC(ActorCritic):
    """Clones the data's actions by how much better they are than the policy's own; goes on online as it is.

    Source: Nair et al. 2020, arXiv:2006.09359.
    """

    temperature: Positive = 1 / 3  # Of the weight exp(advantage / temperature), in units of return.
    max_weight: Positive = 100.0  # Bound of that weight.
    squash_mean: bool = True  # Whether the policy's mean is tanh of its network, or the network itself.
    log_std_min: float = -5.0  # Lower bound of the policy's log standard deviation.
    n_actions: Count = 1  # Actions of the policy whose mean value is the state's.
    encoder: Any = MLPEncoder(hidden_sizes=(256, 256, 256))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    paper: ClassVar[str] = "arXiv:2006.09359"
    impl_class = AWACImpl

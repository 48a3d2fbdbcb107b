"""REDQ: randomized ensembled double Q-learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.redq_impl import REDQImpl
from offlinekit.core.hyperparameters import Count


@dataclass(kw_only=True, eq=False, repr=False)
class REDQ(SAC):
    """SAC with many critics: targets take the lowest of a few drawn at random, the actor the mean of all.

    Source: Chen et al. 2021, arXiv:2101.05982.
    """

    n_critics: Count = 10  # Critics in the ensemble.
    subset_size: Count = 2  # Critics drawn anew for each target; more are more pessimistic.
    policy_delay: Count = 20  # The policy and the temperature are updated at every such update.
    target_update_interval: Count = 1  # Updates between two updates of the target critics.

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2101.05982"
    impl_class = REDQImpl

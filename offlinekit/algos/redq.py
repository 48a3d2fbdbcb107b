"""REDQ: randomized ensembled double Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.redq_impl import REDQImpl
from offlinekit.core.hyperparameters import Count


class REDQ(SAC):
    """Randomised ensembled double Q-learning: SAC whose targets take the lowest of a random subset of critics.

    Source: Chen et al. 2021, arXiv:2101.05982.
    """

    n_critics = 10
    subset_size: Annotated[Count, "Critics drawn anew for each target; more are more pessimistic."] = 2
    policy_delay: Annotated[Count, "The policy and the temperature are updated at every such update."] = 20
    target_update_interval: Annotated[Count, "Updates between two updates of the target critics."] = 1

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2101.05982"
    impl_class = REDQImpl

    def check_together(self) -> None:
        """Checks that there are as many critics as are drawn."""
        if self.subset_size > self.n_critics:
            raise ValueError(
                f"subset_size must be at most n_critics ({self.n_critics}), got {self.subset_size}; "
                "draw fewer critics or make more"
            )

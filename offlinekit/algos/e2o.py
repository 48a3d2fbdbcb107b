"""E2O: an ensemble from offline to online."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.cql import CQL
from offlinekit.algos.torch.e2o_impl import E2OImpl
from offlinekit.core.hyperparameters import Count, NonNegative


class E2O(CQL):
    """CQL with ten critics, then SAC online with targets between minimum and mean, and optimistic acting (E2O).

    Source: Zhao et al. 2023, arXiv:2306.06871.
    """

    n_critics = 10
    n_proposals: Annotated[Count, "Online, actions of the policy of which the most promising is taken."] = 10
    optimism: Annotated[NonNegative, "Weight of the critics' deviation in that choice; 0 is the mean."] = 10.0
    disagreement_weight: Annotated[
        NonNegative,
        "Online, W in the factor sigmoid(-W deviation) + 1/2 of the critics' loss; 0 leaves it out.",
    ] = 0.0
    actor_learning_rate = 3e-5
    temperature_learning_rate = 1e-4

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2306.06871"
    short_name: ClassVar[str] = "e2o"
    online_settings: ClassVar[Mapping[str, Any]] = {"mixing": "none", "warmup_steps": 1_000}
    impl_class = E2OImpl

    def check_together(self) -> None:
        """Checks that critics make pairs, and the backup as in CQL."""
        super().check_together()
        if self.n_critics < 2:
            raise ValueError(
                f"n_critics must be at least 2, so that critics make pairs, got {self.n_critics}"
            )

"""WSRL: warm-start reinforcement learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.cal_ql import CalQL
from offlinekit.algos.torch.wsrl_impl import WSRLImpl
from offlinekit.core.hyperparameters import Count
from offlinekit.nn.encoders import MLPEncoder


class WSRL(CalQL):
    """Warm-start RL: an ensemble Cal-QL offline, then SAC online on new rows alone after a warm-up of the policy.

    Source: Zhou et al. 2024, arXiv:2412.07762.
    """

    n_critics = 10
    subset_size: Annotated[Count, "Critics drawn anew for each target; more are more pessimistic."] = 2
    critic_layer_norm: Annotated[bool, "Whether the critics' hidden layers are normalised."] = True
    online_policy_delay: Annotated[
        Count, "Online, updates of the critics for one of the policy and the temperature."
    ] = 4
    temperature_learning_rate = 1e-4
    encoder = MLPEncoder(layer_norm=True)
    critic_encoder = MLPEncoder()

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2412.07762"
    short_name: ClassVar[str] = "wsrl"
    online_settings: ClassVar[Mapping[str, Any]] = {
        "mixing": "none",
        "updates_per_step": 4.0,
        "warmup_steps": 5_000,
    }
    impl_class = WSRLImpl  # type: ignore[assignment]  # Not of Cal-QL, whose data it learns from.

    def check_together(self) -> None:
        """Checks that there are as many critics as are drawn, and the backup as in CQL."""
        super().check_together()
        if self.subset_size > self.n_critics:
            raise ValueError(
                f"subset_size must be at most n_critics ({self.n_critics}), got {self.subset_size}; "
                "draw fewer critics or make more"
            )

    @property
    def samples_rows(self) -> bool:
        """Whether rows can be held one by one: online they can, since returns bound nothing there."""
        return self.impl.is_online or super().samples_rows

"""BRED: balanced replay and a pessimistic ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.sac import SAC
from offlinekit.algos.torch.bred_impl import BREDImpl
from offlinekit.core.hyperparameters import Count, NonNegative


class BRED(SAC):
    """Balanced replay and an ensemble of CQL agents, averaged into one policy online; recorded rows by priority.

    Source: Lee et al. 2021, arXiv:2107.00591.
    """

    n_agents: Annotated[Count, "Agents, each with a policy and critics of its own."] = 5
    n_critics: Annotated[Count, "Critics of each agent; targets take the lowest of them."] = 2
    alpha: Annotated[NonNegative, "Offline, weight of the conservative gap."] = 5.0
    n_actions: Annotated[Count, "Actions of each kind: random, of the policy, of the policy at s'."] = 10

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2107.00591"
    online_settings: ClassVar[Mapping[str, Any]] = {
        "mixing": "balanced",
        "warmup_steps": 1_000,
        "reset": ("moments", "temperature"),
    }
    impl_class = BREDImpl

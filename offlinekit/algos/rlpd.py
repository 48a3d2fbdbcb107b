"""RLPD: reinforcement learning with prior data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.redq import REDQ
from offlinekit.algos.torch.rlpd_impl import RLPDImpl


class RLPD(REDQ):
    """Online RL with prior data: SAC with half of each minibatch recorded, many updates a step and layer norm.

    Source: Ball et al. 2023, arXiv:2302.02948.
    """

    critic_layer_norm: Annotated[bool, "Whether the critics' hidden layers are normalised."] = True
    soft_backup: Annotated[bool, "Whether targets subtract the entropy term."] = True
    target_entropy: Annotated[
        float | None, "Of the policy, in nats; None: minus half the action dimensions."
    ] = None

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2302.02948"
    online_settings: ClassVar[Mapping[str, Any]] = {
        "mixing": "symmetric",
        "updates_per_step": 20.0,
        "random_steps": 5_000,
        "warmup_steps": 5_000,
    }
    impl_class = RLPDImpl

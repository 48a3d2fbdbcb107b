"""PEX: policy expansion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from offlinekit.algos.iql import IQL
from offlinekit.algos.torch.pex_impl import PEXImpl
from offlinekit.core.hyperparameters import NonNegative


class PEX(IQL):
    """Policy expansion: IQL whose offline policy is kept online, beside a new one; Q-values choose which of them acts.

    Source: Zhang et al. 2023, arXiv:2302.00935.
    """

    inverse_temperature: Annotated[
        NonNegative, "Of the choice between the two actions, in 1 / units of return; 0 tosses a coin."
    ] = 10.0
    expectile = 0.9
    beta = 10.0

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2302.00935"
    online_settings: ClassVar[Mapping[str, Any]] = {"mixing": "symmetric", "warmup_steps": 5_000}
    impl_class = PEXImpl

"""UWAC: uncertainty weighted actor-critic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from offlinekit.algos.bear import BEAR
from offlinekit.algos.torch.uwac_impl import UWACImpl
from offlinekit.core.hyperparameters import Count, Interval, NonNegative, Positive
from offlinekit.nn.encoders import MLPEncoder

Passes = Annotated[int, Interval("[2, inf)")]


@dataclass(kw_only=True, eq=False, repr=False)
class UWAC(BEAR):
    """BEAR that trusts a value the less, the more the critics' dropout changes it.

    Source: Wu et al. 2021, arXiv:2105.08140.
    """

    variance_weight: NonNegative = 0.5  # A value counts by exp(-variance_weight * variance of its passes).
    n_passes: Passes = 100  # Passes of the critics, each with a dropout of its own.
    spectral_norm: bool = True  # Whether each layer of the critics is divided by its largest singular value.
    mmd_threshold: Positive = 0.07  # Discrepancy from the data's actions that is allowed.
    kernel: Literal["laplacian", "gaussian"] = "gaussian"  # By which actions are compared.
    n_matched: Count = 4  # Actions of policy and model that are compared.
    n_candidates: Count = 100  # Actions of the policy of which `predict` takes the best.
    critic_encoder: Any = MLPEncoder(dropout=0.1)  # noqa: RUF009  # Of the critics; None takes `encoder`.

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2105.08140"
    impl_class = UWACImpl

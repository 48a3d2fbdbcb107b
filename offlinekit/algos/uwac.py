"""UWAC: uncertainty weighted actor-critic."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.bear import BEAR
from offlinekit.algos.torch.uwac_impl import UWACImpl
from offlinekit.core.hyperparameters import Interval, NonNegative
from offlinekit.nn.encoders import MLPEncoder

Passes = Annotated[int, Interval("[2, inf)")]


class UWAC(BEAR):
    """BEAR whose rows are weighted by the uncertainty of the critics, estimated by dropout.

    Source: Wu et al. 2021, arXiv:2105.08140.
    """

    variance_weight: Annotated[NonNegative, "w in exp(-w * variance of the passes), a value's weight."] = 0.5
    n_passes: Annotated[Passes, "Passes of the critics, each with a dropout of its own."] = 100
    spectral_norm: Annotated[bool, "Whether critics' layers are divided by their spectral norms."] = True
    mmd_threshold = 0.07
    kernel = "gaussian"
    n_matched = 4
    n_candidates = 100
    critic_encoder = MLPEncoder(dropout=0.1)

    family: ClassVar[str] = "U"
    paper: ClassVar[str] = "arXiv:2105.08140"
    impl_class = UWACImpl

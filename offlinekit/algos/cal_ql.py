"""Calibrated Q-learning."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.cql import CQL
from offlinekit.algos.torch.cal_ql_impl import CalQLImpl


class CalQL(CQL):
    """CQL whose values stay at least as high as the returns of the data, ready for fine-tuning online.

    Source: Nakamoto et al. 2023, arXiv:2303.05479; its offline part.
    """

    family: ClassVar[str] = "Off2On"
    paper: ClassVar[str] = "arXiv:2303.05479"
    impl_class = CalQLImpl

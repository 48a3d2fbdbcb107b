"""Quantile regression DQN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from offlinekit.algos.torch.qrdqn_impl import QRDQNImpl
from offlinekit.core.bases.q_learning import QLearning


@dataclass(kw_only=True, eq=False, repr=False)
class QRDQN(QLearning):
    """DQN that learns quantiles of the return in place of its mean; an online method.

    Source: Dabney et al. 2017, arXiv:1710.10044.
    """

    q_function: Literal["qr"] = "qr"  # What critics learn of the return: quantiles.

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1710.10044"
    impl_class = QRDQNImpl

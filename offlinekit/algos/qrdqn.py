"""Quantile regression DQN."""

from __future__ import annotations

from typing import ClassVar, Literal

from offlinekit.algos.torch.qrdqn_impl import QRDQNImpl
from offlinekit.core.bases.q_learning import QLearning


class QRDQN(QLearning):
    """Quantile regression DQN: learns quantiles of the return; an online method.

    Source: Dabney et al. 2017, arXiv:1710.10044.
    """

    q_function: Literal["qr"] = "qr"

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1710.10044"
    impl_class = QRDQNImpl

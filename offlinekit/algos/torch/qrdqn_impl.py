"""Quantile regression DQN: DQN's update, as it stands, on quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.core.bases.q_learning import QLearningImpl

if TYPE_CHECKING:
    from offlinekit.algos.qrdqn import QRDQN


class QRDQNImpl(QLearningImpl):
    """y_j = r + gamma theta_target_j(s', argmax_a mean_j theta_target_j(s', a)); arXiv:1710.10044, algorithm 1."""

    config: QRDQN

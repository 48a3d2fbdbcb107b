"""Quantile regression DQN: DQN's update, as it stands, on quantiles."""

from __future__ import annotations

from offlinekit.algos.torch.q_learning import QLearningImpl


class QRDQNImpl(QLearningImpl):
    """y_j = r + gamma theta_target_j(s', argmax_a mean_j theta_target_j(s', a)); arXiv:1710.10044, algorithm 1."""

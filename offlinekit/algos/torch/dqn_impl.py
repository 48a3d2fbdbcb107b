"""Deep Q-learning: all of it is the shared Q-learning."""

from __future__ import annotations

from offlinekit.algos.torch.q_learning import QLearningImpl


class DQNImpl(QLearningImpl):
    """y = r + gamma max_a Q_target(s', a)."""

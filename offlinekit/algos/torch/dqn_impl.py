"""Deep Q-learning: all of it is the shared Q-learning."""

from __future__ import annotations

from offlinekit.core.bases.q_learning_impl import QLearningImpl


class DQNImpl(QLearningImpl):
    """y = r + gamma max_a Q_target(s', a)."""

"""Deep Q-learning: all of it is the shared Q-learning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.core.bases.q_learning import QLearningImpl

if TYPE_CHECKING:
    from offlinekit.algos.dqn import DQN


class DQNImpl(QLearningImpl):
    """y = r + gamma max_a Q_target(s', a)."""

    config: DQN

"""Deep Q-learning."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.torch.dqn_impl import DQNImpl
from offlinekit.core.bases.q_learning import QLearning


class DQN(QLearning):
    """Deep Q-learning: an online method, and the baseline whose Q-values offline data make overestimate.

    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", Nature 518.
    """

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "Mnih et al. 2015"
    impl_class = DQNImpl

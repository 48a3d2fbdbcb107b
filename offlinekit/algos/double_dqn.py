"""Double deep Q-learning."""

from __future__ import annotations

from typing import ClassVar

from offlinekit.algos.torch.double_dqn_impl import DoubleDQNImpl
from offlinekit.core.bases.q_learning import QLearning


class DoubleDQN(QLearning):
    """DQN whose online network chooses the next action and whose target network evaluates it.

    Source: van Hasselt et al. 2015, arXiv:1509.06461.
    """

    family: ClassVar[str] = "online"
    paper: ClassVar[str] = "arXiv:1509.06461"
    impl_class = DoubleDQNImpl

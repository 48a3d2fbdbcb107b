"""Double deep Q-learning: the next action is the online network's."""

from __future__ import annotations

from torch import Tensor

from offlinekit.core.bases.q_learning import QLearningImpl
from offlinekit.sampling.batch import TensorTree


class DoubleDQNImpl(QLearningImpl):
    """y = r + gamma Q_target(s', argmax_a Q(s', a)); arXiv:1509.06461, eq. (4)."""

    def next_actions(self, observations: TensorTree, outputs: Tensor) -> Tensor:
        """Returns the online critics' greedy actions [B]."""
        return self.greedy(self.q.values(observations))

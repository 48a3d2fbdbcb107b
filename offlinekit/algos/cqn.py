"""Conservative Q-network, as AgileRL has it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.cqn_impl import CQNImpl
from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import NonNegative


class CQN(QLearning):
    """Double DQN with a logsumexp penalty on the Q-values of all actions; as AgileRL has it, kept for comparison.

    DiscreteCQL, which subtracts the value of the data's action in place of the mean, is what to use.
    Source: AgileRL/AgileRL@549d85e4, agilerl/algorithms/cqn.py.
    """

    alpha: Annotated[NonNegative, "Weight of logsumexp Q - mean Q over all actions, in units of return."] = (
        1.0
    )
    learning_rate = 1e-4
    batch_size = 64
    target_update_interval = 1
    tau = 1e-3
    td_loss = "mse"
    clip_grad_norm = 1.0

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "AgileRL"
    impl_class = CQNImpl

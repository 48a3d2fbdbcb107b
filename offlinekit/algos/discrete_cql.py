"""Discrete conservative Q-learning."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.discrete_cql_impl import DiscreteCQLImpl
from offlinekit.core.bases.q_learning import QLearning
from offlinekit.core.hyperparameters import NonNegative


class DiscreteCQL(QLearning):
    """Conservative Q-learning: double DQN with a penalty that lowers the Q-values of actions outside of the data.

    Source: Kumar et al. 2020, arXiv:2006.04779; with q_function="qr" its Atari setting (200 quantiles).
    """

    alpha: Annotated[NonNegative, "Weight of logsumexp Q - Q(data's action), in units of return."] = 1.0

    family: ClassVar[str] = "VR"
    paper: ClassVar[str] = "arXiv:2006.04779"
    impl_class = DiscreteCQLImpl

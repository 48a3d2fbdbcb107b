"""Advantage-weighted regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from offlinekit.algos.torch.awr_impl import AWRImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, Probability
from offlinekit.nn.encoders import MLPEncoder


@dataclass(kw_only=True, eq=False, repr=False)
class AWR(Algo):
    """Clones the data's actions by how much more they returned than the state is worth; learns no action values.

    Source: Peng et al. 2019, arXiv:1910.00177.
    """

    temperature: Positive = 1.0  # Of the weight exp(advantage / temperature), in standard deviations.
    max_weight: Positive = 20.0  # Bound of that weight.
    td_lambda: Probability = 0.95  # Of the returns: 1 is Monte Carlo, 0 one step and the value.
    refresh_interval: Count = 500  # Updates between two computations of all returns.
    actor_learning_rate: Positive = 3e-4  # Of the policy.
    value_learning_rate: Positive = 3e-4  # Of the value.
    encoder: Any = MLPEncoder(hidden_sizes=(128, 64))  # noqa: RUF009  # What sees the observation; frozen.

    family: ClassVar[str] = "PC"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:1910.00177"
    impl_class = AWRImpl

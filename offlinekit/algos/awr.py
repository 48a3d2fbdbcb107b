"""Advantage-weighted regression."""

from __future__ import annotations

from typing import Annotated, ClassVar

from offlinekit.algos.torch.awr_impl import AWRImpl
from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Positive, Probability
from offlinekit.nn.encoders import MLPEncoder


class AWR(Algo):
    """Advantage-weighted regression: clones actions weighted by return minus state value; no Q-function.

    Source: Peng et al. 2019, arXiv:1910.00177.
    """

    temperature: Annotated[Positive, "Of the weight exp(advantage / temperature), in deviations."] = 1.0
    max_weight: Annotated[Positive, "Bound of that weight."] = 20.0
    td_lambda: Annotated[Probability, "Of the returns: 1 is Monte Carlo, 0 one step and the value."] = 0.95
    refresh_interval: Annotated[Count, "Updates between two computations of all returns."] = 500
    actor_learning_rate: Annotated[Positive, "Of the policy."] = 3e-4
    value_learning_rate: Annotated[Positive, "Of the value."] = 3e-4
    encoder = MLPEncoder(hidden_sizes=(128, 64))

    family: ClassVar[str] = "PC"
    action_kind: ClassVar[str] = "continuous"
    paper: ClassVar[str] = "arXiv:1910.00177"
    impl_class = AWRImpl

    def check_together(self) -> None:
        """Checks that steps are joined by `td_lambda` alone."""
        if self.n_step != 1:
            raise ValueError(f"AWR joins steps by td_lambda; n_step must be 1, got {self.n_step}")

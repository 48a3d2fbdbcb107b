"""Stops a run whose metric no longer improves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from offlinekit.directions import is_maximized
from offlinekit.ground.hints import answers_keywords
from offlinekit.interfaces import Evaluator

LOSSES = ("critic_loss", "actor_loss", "value_loss", "imitator_loss")
"""Columns that a misspelt metric may stand for."""


@answers_keywords
@dataclass(frozen=True)
class EarlyStopping:
    """Ends a run after `patience` measurements in a row without a better one.

    Attributes:
        metric: A column of the history, such as "eval/return_mean" or "critic_loss".
        patience: Measurements without improvement that are put up with, >= 1.
        minimum_change: Smallest difference that counts as better, in units of the metric.
        maximize: Whether higher is better; None goes by the metric.
    """

    metric: str = "eval/return_mean"
    patience: int = 5
    minimum_change: float = 0.0
    maximize: bool | None = None

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")

    def resolved(self, evaluators: Mapping[str, Evaluator]) -> EarlyStopping:
        """Returns the same with `maximize` decided.

        Args:
            evaluators: Those of the run, which may say it of themselves.

        Raises:
            ValueError: If nothing says whether more of the metric is better.
        """
        remedy = f"give EarlyStopping({self.metric!r}, maximize=True), or maximize=False"
        known = is_maximized(self.metric, self.maximize, evaluators, LOSSES, remedy)
        return replace(self, maximize=known)

    def should_stop(self, history: Sequence[dict[str, Any]]) -> bool:
        """Returns whether the last `patience` measurements brought nothing better than all before."""
        sign = 1.0 if is_maximized(self.metric, self.maximize) else -1.0
        best, since = float("-inf"), 0
        for row in history:
            if self.metric in row:
                value = sign * row[self.metric]
                best, since = (value, 0) if value > best + self.minimum_change else (best, since + 1)
        return since >= self.patience

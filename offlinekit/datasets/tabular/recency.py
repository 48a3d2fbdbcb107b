"""Weights of rows by their age, for data whose world changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets.episodes import row_values
from offlinekit.ground.hints import answers_keywords
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

PREFIX = "recency:"


@answers_keywords
@dataclass(frozen=True)
class Recency:
    """Loss weights that halve with each half-life that a row is older than the latest one: `fit(weights=Recency(...))`.

    Its text is "recency:by=day,half_life=30", which `weights` takes as well, on the command line too.

    Attributes:
        by: Column of `extras` or `episode_extras` of one number a row, such as the times of a table.
        half_life: In units of that column (of dates in a table with a schema, days).
        latest: The time of weight 1; None for the latest of the dataset.

    Raises:
        ValueError: For a half-life that is not positive.
    """

    by: str
    half_life: float
    latest: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.half_life < np.inf:
            raise ValueError(f"half_life must be positive and finite, got {self.half_life}")

    def __call__(self, dataset: MDPDataset) -> Array:
        """Returns 0.5 ** ((latest - time) / half_life), float64 [N].

        Raises:
            ValueError: For a column that there is not, or of more than one number a row.
        """
        latest = self.latest_of(dataset) if self.latest is None else self.latest
        weights: Array = np.exp2((row_values(dataset, self.by) - latest) / self.half_life)
        return weights

    def latest_of(self, dataset: MDPDataset) -> float:
        """Returns the latest time of a dataset."""
        return float(row_values(dataset, self.by).max())

    @staticmethod
    def from_text(text: str) -> Recency:
        """Returns what a text such as "recency:by=day,half_life=30" describes.

        Raises:
            ValueError: For another text.
        """
        fields = dict(part.partition("=")[::2] for part in text.removeprefix(PREFIX).split(","))
        try:
            half_life = float(fields.pop("half_life"))
            return Recency(fields.pop("by"), half_life, **_latest(fields))
        except (KeyError, TypeError, ValueError) as error:
            message = f"weights must be as in 'recency:by=day,half_life=30', got {text!r} ({error})"
            raise ValueError(message) from error


def _latest(fields: dict[str, str]) -> dict[str, float]:
    return {name: float(value) for name, value in fields.items()}

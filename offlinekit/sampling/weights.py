"""Rows drawn more often than others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from offlinekit.errors import DatasetError
from offlinekit.types import Array, leaves, rows

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset


class Chooser:
    """Draws numbers in [0, n) with replacement: all equally likely, or by weights.

    Args:
        n: How many there are.
        weights: [n], at least 0, of which some are positive; None for equal ones.
        device: Where numbers are drawn.

    Raises:
        DatasetError: For weights that cannot be.
    """

    def __init__(self, n: int, weights: Array | None, device: torch.device) -> None:
        self.n, self.device = n, device
        self._sums: Tensor | None = None
        if weights is not None:
            check_weights(weights, n)
            sums = np.cumsum(np.asarray(weights, np.float64))
            self._sums = torch.from_numpy(sums / sums[-1]).to(device)
            self._last = int(np.flatnonzero(weights)[-1])

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """Returns int64 [size]; no host waits for the device, so a CUDA graph can hold it."""
        if self._sums is None:
            return torch.randint(self.n, (size,), generator=generator, device=self.device)
        draws = torch.rand(size, generator=generator, device=self.device, dtype=torch.float64)
        return torch.searchsorted(self._sums, draws, right=True).clamp_(max=self._last)


def check_weights(weights: Array, n: int) -> None:
    """Raises DatasetError unless weights are [n], finite, at least 0 and not all 0."""
    if weights.shape != (n,):
        raise DatasetError(f"weights must have shape [{n}], one a row, got shape {list(weights.shape)}")
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(f"weights must be finite and at least 0, got {weights[row]} at row {row}")
    if not weights.any():
        raise DatasetError("weights are all 0, expected some to be positive; no row could be drawn")


def return_weights(dataset: MDPDataset, temperature: float = 0.1, *, advantage: bool = False) -> Array:
    """Returns weights of rows by the return of their episode, float64 [N] that sum to 1.

    w = exp(g / temperature), where g is the return mapped to [0, 1] over the episodes: return weighting. With
    `advantage`, what counts is the return less the one expected from the episode's first observation, by linear
    regression: advantage weighting, which does not mistake a lucky start for a good policy. An episode of T rows
    is so drawn with a probability proportional to T w.

    Source: Hong et al. 2023, arXiv:2306.13085, section 4.

    Args:
        dataset: N rows.
        temperature: Above 0; towards 0 the best episode alone is drawn, large ones are uniform.
        advantage: Whether to weight by advantages.

    Raises:
        ValueError: For a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    scores = dataset.episode_returns()
    if advantage:
        scores = scores - _expected_returns(dataset, scores)
    spread = scores.max() - scores.min()
    normal = (scores - scores.max()) / (spread if spread > 0 else 1.0)  # At most 0: no overflow.
    weights = np.repeat(np.exp(normal / temperature), dataset.episode_lengths())
    normalised: Array = weights / weights.sum()
    return normalised


def _expected_returns(dataset: MDPDataset, returns: Array) -> Array:
    """Returns the returns [E] that linear regression expects from the first observations."""
    from sklearn.linear_model import LinearRegression

    first = leaves(rows(dataset.observations, dataset.episode_starts))
    inputs = np.concatenate([leaf.reshape(len(leaf), -1).astype(np.float64) for leaf in first], axis=1)
    expected: Array = LinearRegression().fit(inputs, returns).predict(inputs)
    return expected

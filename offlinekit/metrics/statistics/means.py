"""Means and how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from offlinekit.ground.hints import answers_guesses


def mean(values: npt.ArrayLike) -> float:
    """Returns the arithmetic mean of values [n]; raises ValueError if there are none."""
    return float(_checked(values).mean())


def standard_error(values: npt.ArrayLike) -> float:
    """Returns the standard error of the mean: sample standard deviation (n - 1) / sqrt(n).

    Args:
        values: [n], independent of each other. With a single value the result is NaN: one value shows nothing
            about its spread.

    Raises:
        ValueError: If there are no values.
    """
    array = _checked(values)
    if len(array) < 2:
        return float("nan")
    return float(array.std(ddof=1) / np.sqrt(len(array)))


@answers_guesses
def bootstrap_interval(
    values: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    seed: int = 0,
    statistic: Callable[..., Any] = np.mean,
) -> tuple[float, float]:
    """Returns the percentile bootstrap interval (low, high) of a statistic.

    The values are drawn again with replacement `n_resamples` times; the interval holds the central
    `confidence` share of the statistic over these draws. Below about 10 values it is too narrow.
    Source: Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.

    Args:
        values: [n], independent of each other.
        confidence: Share of the draws inside the interval, in (0, 1).
        n_resamples: Number of draws.
        seed: Of the draws; equal seeds give equal intervals.
        statistic: Called as `statistic(draws, axis=1)` on [n_resamples, n]; such as np.mean or np.median.

    Raises:
        ValueError: If there are no values, or an argument is out of its range.
    """
    array = _checked(values)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
    index = np.random.default_rng(seed).integers(len(array), size=(n_resamples, len(array)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(array[index], axis=1), [tail, 1 - tail])
    return float(low), float(high)


def _checked(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Returns values as float64 [n], n at least 1."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"expected a one-dimensional array with at least one value, got shape {array.shape}")
    return array

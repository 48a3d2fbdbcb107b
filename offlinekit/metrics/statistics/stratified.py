"""Bootstrap intervals of what is made of runs x tasks: runs are drawn again within each task."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.statistics.aggregates import Floats, as_scores

METHODS = ("percentile", "bca")


@answers_guesses
def stratified_interval(
    statistic: Callable[..., float],
    *groups: npt.ArrayLike,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    seed: int = 0,
    method: str = "percentile",
) -> tuple[float, float]:
    """Returns the stratified bootstrap interval (low, high) of a statistic of scores.

    Each draw takes, for each task by itself, as many runs as there are, with replacement; so every task keeps its
    weight. With fewer than 20 runs x tasks the interval is too narrow (of 3 x 1 it covers 76%, of 3 x 5 87%), and a
    single run says nothing of the spread of its group: the interval is (nan, nan).
    Sources: Agarwal et al. 2021, arXiv:2108.13264, section 4.1; Efron & Tibshirani 1993, "An Introduction to the
    Bootstrap", section 13.3 (percentile), section 14.3 (BCa).

    Args:
        statistic: Called on as many arrays [runs, tasks] as there are groups; such as `iqm` of one group or
            `probability_of_improvement` of two.
        groups: Scores [runs, tasks] of each algorithm.
        confidence: Share of the draws inside the interval, in (0, 1).
        n_resamples: Number of draws.
        seed: Of the draws; equal seeds give equal intervals.
        method: "percentile", or "bca", which corrects for bias and for a spread that depends on the value; it
            leaves one run (of all tasks) out at a time and so needs two runs.

    Raises:
        ValueError: For arguments out of their range.
    """
    _check(confidence, n_resamples)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")
    scores = [as_scores(group) for group in groups]
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "percentile" and any(len(group) < 2 for group in scores):
        return float("nan"), float("nan")
    draws = resample(statistic, *scores, n_resamples=n_resamples, seed=seed)
    if method == "bca":
        tails = _bca_tails(tails, draws, float(statistic(*scores)), acceleration(statistic, *scores))
    low, high = np.quantile(draws, tails)
    return float(low), float(high)


@answers_guesses
def stratified_band(
    statistic: Callable[..., Floats],
    *groups: npt.ArrayLike,
    confidence: float = 0.95,
    n_resamples: int = 2_000,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Returns the percentile interval (low, high), point by point, of a statistic that is an array.

    Args:
        statistic: As in `stratified_interval`, but it returns [T], such as a performance profile.
        groups: Scores [runs, tasks].
        confidence: Of each point, in (0, 1).
        n_resamples: Draws of the bootstrap.
        seed: Of the draws.

    Returns:
        Two arrays [T], of NaN if a group has one run. Each point is covered with the confidence by itself, not all
        of them at once.
    """
    _check(confidence, n_resamples)
    scores = [as_scores(group) for group in groups]
    if any(len(group) < 2 for group in scores):
        nothing = np.full_like(np.asarray(statistic(*scores), np.float64), np.nan)
        return nothing, nothing
    draws = resample(statistic, *scores, n_resamples=n_resamples, seed=seed)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return low, high


def resample(
    statistic: Callable[..., Any], *groups: npt.ArrayLike, n_resamples: int = 2_000, seed: int = 0
) -> Floats:
    """Returns a statistic of runs drawn again within each task, [n_resamples, ...]."""
    scores = [as_scores(group) for group in groups]
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(n_resamples):
        index = [random.integers(len(group), size=group.shape) for group in scores]
        drawn = [np.take_along_axis(group, rows, axis=0) for group, rows in zip(scores, index, strict=True)]
        draws.append(statistic(*drawn))
    return np.asarray(draws, np.float64)


def acceleration(statistic: Callable[..., float], *groups: npt.ArrayLike) -> float:
    """Returns the acceleration constant of BCa, from leaving out one run at a time.

    With influences u = (n - 1) (mean of the leave-one-out values - value) of each group of n runs it is
    sum(u**3 / n**3) / (6 sum(u**2 / n**2)**1.5), sums over all runs of all groups; of one group this is
    Efron & Tibshirani 1993, eq. (14.15).

    Args:
        statistic: Of scores [runs, tasks], one array a group.
        groups: Scores [runs, tasks], at least two runs each.

    Raises:
        ValueError: For a group of one run.
    """
    scores = [as_scores(group) for group in groups]
    cubes = squares = 0.0
    for number, group in enumerate(scores):
        n = len(group)
        if n < 2:
            raise ValueError("method='bca' leaves out a run at a time and needs at least 2, got 1 run")
        without = [
            statistic(*scores[:number], np.delete(group, i, axis=0), *scores[number + 1 :]) for i in range(n)
        ]
        influence = (n - 1) * (np.mean(without) - np.asarray(without)) / n
        cubes += float((influence**3).sum())
        squares += float((influence**2).sum())
    return 0.0 if squares == 0 else cubes / (6 * squares**1.5)


def _bca_tails(tails: Floats, draws: Floats, value: float, acceleration: float) -> Floats:
    """Returns the quantiles of the draws that bound the BCa interval; eq. (14.10) of Efron & Tibshirani."""
    below = ((draws < value).mean() + (draws <= value).mean()) / 2
    if below in (0.0, 1.0):
        return tails
    normal = NormalDist()
    bias = normal.inv_cdf(below)
    shifted = [bias + normal.inv_cdf(tail) for tail in tails]
    return np.array([normal.cdf(bias + each / (1 - acceleration * each)) for each in shifted])


def _check(confidence: float, n_resamples: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")

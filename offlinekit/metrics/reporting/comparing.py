"""Whether one group of runs is better than another, and whether the seeds suffice to say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from offlinekit.metrics.reporting.counted_runs import counted_runs
from offlinekit.metrics.reporting.results import RunResult, by_group, check_evaluated
from offlinekit.metrics.statistics.aggregates import (
    as_scores,
    difference_of_means,
    probability_of_improvement,
)
from offlinekit.metrics.statistics.stratified import stratified_interval

Floats: TypeAlias = npt.NDArray[np.float64]

POWER = 0.8
"""How often runs are to show a difference that there is."""
DRAWS = 2_000
MANY = 1_000  # From so many runs on variances are as good as known.


@dataclass(frozen=True)
class Comparison:
    """Two groups of runs on the same tasks; the first less the second.

    Attributes:
        n_first, n_second: Runs of each.
        means: Mean score of each.
        difference: Of the means, first less second.
        interval: 95% interval of the difference; (nan, nan) if a group has one run.
        improvement: Probability that a run of the first beats one of the second.
        improvement_interval: Its 95% interval; (nan, nan) likewise.
        detectable: Smallest difference that so many runs show four times in five.
        runs_needed: Runs of each group that show a difference of the observed size four times in five; None if
            the groups do not differ or do not vary.
        varies: Whether the runs of each group differ from one another on some task.
    """

    n_first: int
    n_second: int
    means: tuple[float, float]
    difference: float
    interval: tuple[float, float]
    improvement: float
    improvement_interval: tuple[float, float]
    detectable: float
    runs_needed: int | None

    varies: bool = True

    @property
    def suffices(self) -> bool:
        """Whether the interval of the difference leaves out 0, and the runs of both groups vary."""
        return self.varies and (self.interval[0] > 0 or self.interval[1] < 0)

    @property
    def verdict(self) -> str:
        """One sentence."""
        if math.isnan(self.interval[0]):
            return "one run of a group says nothing of its spread: train at least 2 seeds each, better 5"
        if not self.varies:
            return (
                "the runs of a group do not differ at all, which says nothing of their spread: train other seeds, and "
                "evaluate more episodes"
            )
        if self.suffices:
            return (
                f"{'A, the first,' if self.difference > 0 else 'B, the second,'} is better; the seeds suffice"
            )
        needed = (
            f"; a difference as observed needs about {self.runs_needed} seeds each"
            if self.runs_needed
            else ""
        )
        return f"the seeds do not suffice to tell which is better{needed}"


def compare_scores(first: npt.ArrayLike, second: npt.ArrayLike, *, seed: int = 0) -> Comparison:
    """Compares the scores of two groups of runs.

    The interval of the difference is Welch's, of each task's means, added up as independent; that of the probability of
    improvement is a stratified bootstrap, which has no width if every run
    of one beats every run of the other. What runs show four times in five is the difference whose interval leaves out 0
    with 80% power, if scores are normal and vary as those of these runs do.
    Sources: Welch 1947, "The generalization of `Student's' problem", Biometrika 34; Colas, Sigaud & Oudeyer 2018,
    "How Many Random Seeds?", arXiv:1806.08295.

    Args:
        first: [runs, tasks], or [runs] of one task.
        second: [other runs, tasks], tasks in the same order.
        seed: Of the bootstrap.

    Raises:
        ValueError: For another number of tasks.
    """
    scores, others = as_scores(first), as_scores(second)
    difference = difference_of_means(scores, others)
    parts = [_variances(scores), _variances(others)]
    sizes = len(scores), len(others)
    margin = float(_margin(parts, sizes))
    return Comparison(
        len(scores),
        len(others),
        (float(scores.mean()), float(others.mean())),
        difference,
        (difference - margin, difference + margin),
        probability_of_improvement(scores, others),
        stratified_interval(probability_of_improvement, scores, others, seed=seed),
        _detectable(parts, sizes),
        _runs_needed(parts, difference),
        all(part.any() for part in parts),
    )


def compare_runs(
    first: Sequence[RunResult], second: Sequence[RunResult], kind: str = "final"
) -> tuple[Comparison, str, list[str]]:
    """Compares two groups of runs on the datasets that both were trained on.

    A seed counts once, and a run whose return is no finite number does not. On one dataset returns are compared; on
    several normalised scores, of as many runs as each dataset has (the first by seed).

    Args:
        first, second: Runs.
        kind: Of the score, "final" or "best-over-training".

    Returns:
        The comparison, its unit ("return" or "normalised score") and the datasets.

    Raises:
        ValueError: Without a common dataset, for runs that were never evaluated, for data that differ under one name,
            and for several datasets of which one has no reference returns.
    """
    tasks = sorted({run.dataset for run in first} & {run.dataset for run in second})
    if not tasks:
        names = [sorted({run.dataset for run in group}) for group in (first, second)]
        raise ValueError(f"the groups share no dataset: {', '.join(names[0])} against {', '.join(names[1])}")
    check_evaluated([*first, *second])
    first, second = counted_runs(first).runs, counted_runs(second).runs
    by_group([*first, *second])
    matrices: list[Any] = []
    for group in (first, second):
        ordered = sorted(group, key=lambda run: run.seed or 0)
        columns = [[run for run in ordered if run.dataset == task] for task in tasks]
        n = min(map(len, columns))
        if len(tasks) == 1:
            matrices.append([[run.score(kind) for run in columns[0]]])
            continue
        scores = [[run.normalized(kind) for run in column[:n]] for column in columns]
        if lacking := [task for task, column in zip(tasks, scores, strict=True) if None in column]:
            raise ValueError(
                f"returns on several datasets are not on one scale, and {', '.join(lacking)} has no reference "
                "returns to normalise by; compare one dataset at a time"
            )
        matrices.append(scores)
    unit = "return" if len(tasks) == 1 else "normalised score"
    return compare_scores(np.transpose(matrices[0]), np.transpose(matrices[1])), unit, tasks


def _variances(scores: Floats) -> Floats:
    """Returns the variance within each task of a run's share of the mean over tasks; NaN for one run."""
    if len(scores) < 2:
        return np.full(scores.shape[1], math.nan)
    return np.asarray(scores.var(axis=0, ddof=1) / scores.shape[1] ** 2)


def _welch(parts: Sequence[Floats], sizes: Sequence[int]) -> tuple[Floats, Floats]:
    """Returns the standard error of the difference of means and Welch's degrees of freedom, each [...].

    Args:
        parts: Of each group, the variances [tasks, ...] as `_variances` returns them.
        sizes: Runs of each.
    """
    squares = [part / size for part, size in zip(parts, sizes, strict=True)]
    total = np.sum([square.sum(0) for square in squares], 0)
    spread = np.sum(
        [(square**2).sum(0) / max(size - 1, 1) for square, size in zip(squares, sizes, strict=True)], 0
    )
    return np.sqrt(total), np.asarray(total**2 / np.where(spread > 0, spread, 1.0))


def _margin(parts: Sequence[Floats], sizes: Sequence[int]) -> Floats:
    """Returns half the width [...] of the 95% interval of the difference of means; 0 without any spread."""
    error, degrees = _welch(parts, sizes)
    return np.asarray(special.stdtrit(np.maximum(degrees, 1.0), 0.975) * error)


def _detectable(parts: Sequence[Floats], sizes: Sequence[int]) -> float:
    """Returns the difference that the interval leaves 0 out of with 80% power, of runs with such variances.

    The noncentral t with Welch's degrees of freedom gives 69% for 3 runs each, since these are estimated too. So the
    mean is taken over margins [draws] of variances that are drawn, each task's evenly from its quantiles.
    """
    rng, points = np.random.default_rng(0), (np.arange(DRAWS) + 0.5) / DRAWS
    error = float(_welch(parts, sizes)[0])
    if not error > 0:
        return error
    drawn = []
    for part, size in zip(parts, sizes, strict=True):
        quantiles = stats.chi2.ppf(points, size - 1) / (size - 1)
        drawn.append(part[:, None] * rng.permuted(np.tile(quantiles, (len(part), 1)), axis=1))
    margins = _margin(drawn, sizes) / error

    def excess(shift: float) -> float:
        return float(special.ndtr(shift - margins).mean()) - POWER

    return float(optimize.brentq(excess, 0.0, margins.max() + 1.0)) * error


def _runs_needed(parts: Sequence[Floats], difference: float) -> int | None:
    """Returns how many runs of each group show a difference with 80% power, at least 2; None without a difference.

    Args:
        parts: Of each group, as `_variances` returns them.
        difference: Of the means.
    """
    total = float(sum(part.sum() for part in parts))
    if not difference or not 0 < total < math.inf:
        return None

    def suffice(n: int) -> bool:
        return _detectable(parts, (n, n)) <= abs(difference)

    z = float(stats.norm.ppf(0.975) + stats.norm.ppf(POWER))
    low = high = max(2, math.ceil(z**2 * total / difference**2))  # As many as known variances need.
    if low > MANY:
        return low
    while not suffice(high):
        low, high = high + 1, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if suffice(middle) else (middle + 1, high)
    return low

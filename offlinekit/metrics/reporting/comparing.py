"""Whether one group of runs is better than another, and whether the seeds suffice to say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from offlinekit.metrics.reporting.counted_runs import counted_runs
from offlinekit.metrics.reporting.results import RunResult, by_group, check_evaluated
from offlinekit.metrics.statistics.aggregates import (
    as_scores,
    difference_of_means,
    probability_of_improvement,
)
from offlinekit.metrics.statistics.stratified import stratified_interval


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
    of one beats every run of the other. How many runs are needed follows from a normal approximation with a
    two-sided 5% test and 80% power: (z_0.975 + z_0.8)**2 (var_1 + var_2) / difference**2.
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
    variances = [_variance(scores), _variance(others)]
    error = math.sqrt(variances[0] / len(scores) + variances[1] / len(others))
    margin = _welch_margin(scores, others)
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    needed = None
    if difference and 0 < sum(variances) < math.inf:
        needed = max(2, math.ceil(z**2 * sum(variances) / difference**2))
    return Comparison(
        len(scores),
        len(others),
        (float(scores.mean()), float(others.mean())),
        difference,
        (difference - margin, difference + margin),
        probability_of_improvement(scores, others),
        stratified_interval(probability_of_improvement, scores, others, seed=seed),
        float(z * error),
        needed,
        all(variance != 0 for variance in variances),
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


def _variance(scores: npt.NDArray[np.float64]) -> float:
    """Returns the variance of a run's mean over tasks, from the spread within each task; NaN for one run."""
    if len(scores) < 2:
        return math.nan
    return float(scores.var(axis=0, ddof=1).sum() / scores.shape[1] ** 2)


def _welch_margin(one: npt.NDArray[np.float64], two: npt.NDArray[np.float64]) -> float:
    """Returns half the width of the 95% interval of the difference of means, with Welch's degrees of freedom."""
    if min(len(one), len(two)) < 2:
        return math.nan
    n_tasks = one.shape[1]
    parts = [group.var(axis=0, ddof=1) / len(group) / n_tasks**2 for group in (one, two)]
    squared = float(sum(part.sum() for part in parts))
    if squared == 0:
        return 0.0
    spread = sum((part**2).sum() / (len(group) - 1) for part, group in zip(parts, (one, two), strict=True))
    return float(stats.t.ppf(0.975, squared**2 / spread) * math.sqrt(squared))

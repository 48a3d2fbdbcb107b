"""One number for an algorithm out of its scores on several tasks, each trained with several seeds.

Scores are arrays [runs, tasks]: row i holds what the i-th seed reached on each task, on one scale for all tasks,
such as the normalised score (0 random, 100 expert). A single task is one column.
Source: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
arXiv:2108.13264, section 4.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from offlinekit.errors import did_you_mean
from offlinekit.ground.hints import answers_guesses

Floats: TypeAlias = npt.NDArray[np.float64]


def mean_score(scores: npt.ArrayLike) -> float:
    """Returns the mean over tasks of the mean over runs of scores [runs, tasks]."""
    return float(as_scores(scores).mean())


def median_score(scores: npt.ArrayLike) -> float:
    """Returns the median over tasks of the mean over runs of scores [runs, tasks]."""
    return float(np.median(as_scores(scores).mean(axis=0)))


def iqm(scores: npt.ArrayLike) -> float:
    """Returns the interquartile mean: the mean of the middle half of all runs x tasks, pooled.

    floor(n / 4) of the n scores are cut off at either end. It is less swayed by single lucky or failed runs than
    the mean, and uses more of them than the median.

    Args:
        scores: [runs, tasks].
    """
    pooled = np.sort(as_scores(scores), axis=None)
    cut = len(pooled) // 4
    return float(pooled[cut : len(pooled) - cut].mean())


@answers_guesses
def optimality_gap(scores: npt.ArrayLike, target: float = 100.0) -> float:
    """Returns how far scores [runs, tasks] stay below a target on average; what lies above it counts as the target.

    Args:
        scores: [runs, tasks].
        target: Score that is good enough, in units of the scores; 100 is the expert's normalised score.

    Returns:
        At least 0, less is better; 0 where every run reaches the target.
    """
    return float(target - np.minimum(as_scores(scores), target).mean())


def run_score_profile(scores: npt.ArrayLike, thresholds: npt.ArrayLike) -> Floats:
    """Returns the share of runs x tasks whose score lies above each threshold: the performance profile.

    It falls from 1 to 0, and if one algorithm's profile lies above another's everywhere, it is better at every
    quantile.

    Args:
        scores: [runs, tasks].
        thresholds: [T], in units of the scores.

    Returns:
        [T].
    """
    return _shares_above(as_scores(scores).ravel(), thresholds)


def average_score_profile(scores: npt.ArrayLike, thresholds: npt.ArrayLike) -> Floats:
    """Returns the share of tasks whose mean score over runs lies above each threshold.

    Args:
        scores: [runs, tasks].
        thresholds: [T], in units of the scores.

    Returns:
        [T]. It hides how runs of one task differ, which `run_score_profile` shows.
    """
    return _shares_above(as_scores(scores).mean(axis=0), thresholds)


def probability_of_improvement(scores: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Returns how probable it is that a run of one algorithm beats a run of another on a task drawn at random.

    Per task it is the Mann-Whitney statistic: the share of pairs of runs in which the first is better, ties
    counting a half. It says nothing of how much better.

    Args:
        scores: [runs, tasks] of the algorithm in question.
        others: [other runs, tasks] of the other, tasks in the same order.

    Returns:
        In [0, 1]; 0.5 if neither is better.

    Raises:
        ValueError: For another number of tasks.
    """
    first, second = as_scores(scores), as_scores(others)
    check_same_tasks(first, second)
    pairs = first[:, None] - second[None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def difference_of_means(scores: npt.ArrayLike, others: npt.ArrayLike) -> float:
    """Returns the mean score of one algorithm less that of another, on the same tasks.

    Args:
        scores: [runs, tasks].
        others: [other runs, tasks].

    Raises:
        ValueError: For another number of tasks.
    """
    first, second = as_scores(scores), as_scores(others)
    check_same_tasks(first, second)
    return float(first.mean() - second.mean())


def final_score(curve: npt.ArrayLike) -> float:
    """Returns the last measurement of a run: the score to report.

    Offline there is no environment to choose another checkpoint by, so this is what is deployed.

    Args:
        curve: [evaluations], in the order of training.
    """
    return float(_as_curve(curve)[-1])


def best_over_training(curve: npt.ArrayLike) -> float:
    """Returns the highest measurement of a run: what the run would have given, had the environment chosen.

    It is biased upwards, the more so the more often and the less precisely one measures; name it wherever it is shown.

    Args:
        curve: [evaluations].
    """
    return float(_as_curve(curve).max())


SCORES = {"final": final_score, "best-over-training": best_over_training}
"""How a run's measurements become its score, by name."""


def score_of(curve: npt.ArrayLike, kind: str = "final") -> float:
    """Returns the score of a run.

    Args:
        curve: [evaluations], in the order of training.
        kind: "final", or "best-over-training".

    Raises:
        ValueError: For another kind, or no evaluations.
    """
    if kind not in SCORES:
        raise ValueError(
            f"score must be one of {', '.join(map(repr, SCORES))}, got {kind!r}{did_you_mean(kind, SCORES)}"
        )
    return SCORES[kind](curve)


def as_scores(scores: npt.ArrayLike) -> Floats:
    """Returns scores as float64 [runs, tasks]; a list of runs of one task becomes a column.

    Raises:
        ValueError: For no scores, more dimensions, or scores that are not finite.
    """
    array = np.asarray(scores, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"expected scores of shape [runs, tasks] with at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        bad = math.prod(array.shape) - int(np.isfinite(array).sum())
        raise ValueError(f"{bad} of {array.size} scores are not finite; leave out tasks that some runs lack")
    return array


def check_same_tasks(first: Floats, second: Floats) -> None:
    """Raises ValueError if scores [runs, tasks] of two algorithms are of another number of tasks."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"expected scores on the same tasks, got {first.shape[1]} and {second.shape[1]} columns; "
            "compare on the tasks that both were trained on"
        )


def _shares_above(values: Floats, thresholds: npt.ArrayLike) -> Floats:
    """Returns the share of values [n] above each threshold [T]."""
    ordered = np.sort(values)
    below = np.searchsorted(ordered, np.asarray(thresholds, np.float64), side="right")
    return np.asarray(1.0 - below / len(ordered))


def _as_curve(curve: npt.ArrayLike) -> Floats:
    array = np.asarray(curve, np.float64)
    if array.ndim != 1 or len(array) == 0:
        raise ValueError(f"expected the measurements of a run, [evaluations], got shape {array.shape}")
    return array

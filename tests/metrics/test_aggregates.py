"""Aggregates over runs x tasks, by hand and beside rliable."""

from __future__ import annotations

import numpy as np
import pytest
from rliable_case import (
    AVERAGE_PROFILE,
    GAP,
    IMPROVEMENT,
    IQM,
    MEAN,
    MEDIAN,
    OTHERS,
    RUN_PROFILE,
    SCORES,
    THRESHOLDS,
)

from offlinekit.metrics.statistics import aggregates
from offlinekit.metrics.statistics.aggregates import (
    average_score_profile,
    best_over_training,
    difference_of_means,
    final_score,
    iqm,
    mean_score,
    median_score,
    optimality_gap,
    probability_of_improvement,
    run_score_profile,
    score_of,
)

TWO = [[1.0, 30.0, 5.0], [3.0, 10.0, 9.0]]  # Two runs on three tasks; task means 2, 20, 7.


def test_mean_and_median_over_tasks() -> None:
    # Means of the tasks 2, 20, 7: mean 29 / 3, median 7; the median of the six scores would be 7 too, so once more.
    assert mean_score(TWO) == pytest.approx(29 / 3)
    assert median_score(TWO) == 7
    # Means of the tasks 5, 50, 6: median 6; the pooled scores 0, 2, 10, 10, 40, 60 have the median 10.
    assert median_score([[0.0, 40.0, 10.0], [10.0, 60.0, 2.0]]) == 6


def test_iqm_is_the_mean_of_the_middle_half_of_all_scores() -> None:
    # 1 3 | 5 9 | 10 30 would cut half; floor(6 / 4) = 1 at either end: (3 + 5 + 9 + 10) / 4.
    assert iqm(TWO) == pytest.approx(27 / 4)
    # Eight scores lose two at either end: mean of 3, 4, 5, 6.
    assert iqm([[100.0, 2, 3, 4], [5, 6, 7, -90]]) == 4.5
    # Three lose none.
    assert iqm([1.0, 2.0, 6.0]) == 3


def test_optimality_gap_counts_what_is_above_the_target_as_the_target() -> None:
    # Below 10 by 9, 0, 5, 7, 0, 1: mean 22 / 6.
    assert optimality_gap(TWO, 10.0) == pytest.approx(22 / 6)
    assert optimality_gap([[100.0, 250.0]]) == 0
    assert optimality_gap([40.0]) == 60


def test_profiles_are_shares_strictly_above() -> None:
    # Of 1, 3, 5, 9, 10, 30 above 0, 3, 9.5, 30: 6, 4, 2, 0 of 6. Of the means 2, 20, 7: 3, 2, 1, 0 of 3.
    np.testing.assert_allclose(run_score_profile(TWO, [0, 3, 9.5, 30]), [1, 4 / 6, 2 / 6, 0])
    np.testing.assert_allclose(average_score_profile(TWO, [0, 3, 9.5, 30]), [1, 2 / 3, 1 / 3, 0])


def test_probability_of_improvement_counts_ties_a_half_and_averages_tasks() -> None:
    # Task 1: {1, 3} against {1, 2, 0}: wins 1 (1 > 0) + 3, one tie: 4.5 of 6. Task 2: {5, 5} against {9, 9, 9}: 0.
    first, second = [[1.0, 5.0], [3.0, 5.0]], [[1.0, 9.0], [2.0, 9.0], [0.0, 9.0]]
    assert probability_of_improvement(first, second) == pytest.approx(0.375)
    assert probability_of_improvement(second, first) == pytest.approx(0.625)


def test_difference_of_means() -> None:
    # (2 + 5) / 2 - (1 + 9) / 2 = -1.5.
    assert difference_of_means([[1.0, 5.0], [3.0, 5.0]], [[1.0, 9.0], [2.0, 9.0], [0.0, 9.0]]) == -1.5


def test_rliable_agrees() -> None:
    assert mean_score(SCORES) == pytest.approx(MEAN)
    assert median_score(SCORES) == pytest.approx(MEDIAN)
    assert iqm(SCORES) == pytest.approx(IQM)
    assert optimality_gap(SCORES, 100.0) == pytest.approx(GAP)
    assert probability_of_improvement(SCORES, OTHERS) == pytest.approx(IMPROVEMENT)
    np.testing.assert_allclose(run_score_profile(SCORES, THRESHOLDS), RUN_PROFILE)
    np.testing.assert_allclose(average_score_profile(SCORES, THRESHOLDS), AVERAGE_PROFILE)


def test_the_final_score_is_the_last_and_the_best_has_a_name() -> None:
    curve = [10.0, 90.0, 40.0]
    assert final_score(curve) == score_of(curve) == score_of(curve, "final") == 40
    assert best_over_training(curve) == score_of(curve, "best-over-training") == 90
    with pytest.raises(
        ValueError, match=r"one of 'final', 'best-over-training', got 'finale'; did you mean 'final'"
    ):
        score_of(curve, "finale")
    with pytest.raises(ValueError, match=r"measurements of a run, \[evaluations\], got shape \(0,\)"):
        final_score([])


def test_scores_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \[runs, tasks\] with at least one, got shape \(0, 1\)"):
        iqm([])
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        mean_score([[1.0, np.nan]])
    with pytest.raises(ValueError, match="same tasks, got 2 and 1 columns"):
        probability_of_improvement([[1.0, 2.0]], [1.0])
    with pytest.raises(ValueError, match="same tasks, got 2 and 1 columns"):
        difference_of_means([[1.0, 2.0]], [1.0])
    assert aggregates.as_scores([1.0, 2.0]).shape == (2, 1)

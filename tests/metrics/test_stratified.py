"""Stratified bootstrap intervals: by hand, beside rliable, and a published example."""

from __future__ import annotations

import numpy as np
import pytest
from rliable_case import (
    IMPROVEMENT_INTERVAL,
    IQM_INTERVAL,
    MEDIAN_INTERVAL,
    OTHERS,
    RUN_PROFILE_HIGH,
    RUN_PROFILE_LOW,
    SCORES,
    THRESHOLDS,
)

from offlinekit.metrics.statistics.aggregates import (
    iqm,
    mean_score,
    median_score,
    probability_of_improvement,
    run_score_profile,
)
from offlinekit.metrics.statistics.stratified import (
    acceleration,
    resample,
    stratified_band,
    stratified_interval,
)

# Efron & Tibshirani 1993, table 14.1: the spatial test of 26 children, task A.
SPATIAL = [
    48,
    36,
    20,
    29,
    42,
    42,
    20,
    42,
    22,
    41,
    45,
    14,
    6,
    0,
    33,
    28,
    34,
    4,
    32,
    24,
    47,
    41,
    24,
    26,
    30,
    41,
]


def variance(scores: np.ndarray) -> float:
    return float(scores.var())


def test_runs_are_drawn_within_their_task() -> None:
    # Each task holds one value, so any draw within the tasks gives the same means; a pooled draw would not.
    scores = [[1.0, 10.0], [1.0, 10.0], [1.0, 10.0]]
    assert (resample(mean_score, scores, n_resamples=50) == 5.5).all()


def test_each_task_draws_runs_of_its_own() -> None:
    # Rows (0, 0) and (1, 1): drawn together the mean of a draw could only be 0, 0.5 or 1, by task also 0.25, 0.75.
    draws = resample(mean_score, [[0.0, 0.0], [1.0, 1.0]], n_resamples=400)
    values, counts = np.unique(draws, return_counts=True)
    # Sums of four fair coins over 4: shares 1, 4, 6, 4, 1 of 16.
    np.testing.assert_array_equal(values, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(counts / 400, np.array([1, 4, 6, 4, 1]) / 16, atol=0.07)


@pytest.mark.parametrize(
    ("statistic", "groups", "interval", "tolerance"),
    [
        (iqm, (SCORES,), IQM_INTERVAL, 0.6),
        (median_score, (SCORES,), MEDIAN_INTERVAL, 0.8),
        (probability_of_improvement, (SCORES, OTHERS), IMPROVEMENT_INTERVAL, 0.012),
    ],
)
def test_rliable_agrees(statistic, groups, interval, tolerance) -> None:  # type: ignore[no-untyped-def]
    found = stratified_interval(statistic, *groups, n_resamples=4_000)
    np.testing.assert_allclose(found, interval, atol=tolerance)


def test_rliable_agrees_on_the_band_of_a_profile() -> None:
    low, high = stratified_band(lambda s: run_score_profile(s, THRESHOLDS), SCORES, n_resamples=2_000)
    np.testing.assert_allclose(low, RUN_PROFILE_LOW, atol=0.03)
    np.testing.assert_allclose(high, RUN_PROFILE_HIGH, atol=0.03)


def test_bca_gives_the_published_example() -> None:
    # Variance 171.5, acceleration 0.061; 90% intervals of table 14.2, from 2,000 draws: percentile
    # (100.8, 233.9), BCa (115.8, 259.6). The tolerance is what 2,000 draws leave open at such tails.
    assert variance(np.array(SPATIAL)) == pytest.approx(171.5, abs=0.05)
    assert acceleration(variance, SPATIAL) == pytest.approx(0.061, abs=0.0005)
    settings = {"confidence": 0.9, "n_resamples": 8_000}
    np.testing.assert_allclose(stratified_interval(variance, SPATIAL, **settings), (100.8, 233.9), atol=4.5)
    bca = stratified_interval(variance, SPATIAL, method="bca", **settings)
    np.testing.assert_allclose(bca, (115.8, 259.6), atol=4.5)


def test_acceleration_of_a_mean_by_hand() -> None:
    # Leaving one of 0, 0, 3 out: means 1.5, 1.5, 0, their mean 1; u / n = 2 / 3 (-0.5, -0.5, 1).
    # Sum of cubes (8 / 27)(0.75), of squares (4 / 9)(1.5): (2 / 9) / (6 (2 / 3)**1.5).
    expected = (2 / 9) / (6 * (2 / 3) ** 1.5)
    assert acceleration(mean_score, [0.0, 0.0, 3.0]) == pytest.approx(expected)
    # Of a difference of two equal groups the two skews cancel.
    difference = lambda a, b: mean_score(a) - mean_score(b)  # noqa: E731
    assert acceleration(difference, [0.0, 0.0, 3.0], [0.0, 0.0, 3.0]) == pytest.approx(0)


def test_scipy_agrees_on_bca_of_two_groups() -> None:
    from scipy.stats import bootstrap

    random = np.random.default_rng(3)
    first, second = random.exponential(5.0, 12), random.exponential(2.0, 9)
    theirs = bootstrap(
        (first, second),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        method="BCa",
        n_resamples=6_000,
        rng=np.random.default_rng(0),
        vectorized=True,
    ).confidence_interval
    ours = stratified_interval(
        lambda a, b: a.mean() - b.mean(), first, second, method="bca", n_resamples=6_000
    )
    np.testing.assert_allclose(ours, (theirs.low, theirs.high), atol=0.25)


def test_intervals_shrink_with_the_number_of_runs_and_follow_their_seed() -> None:
    # Four times the runs give half the width.
    scores = np.random.default_rng(0).normal(size=(400, 2))
    low, high = stratified_interval(mean_score, scores)
    narrow, wide = high - low, np.diff(stratified_interval(mean_score, scores[:100]))[0]
    assert narrow == pytest.approx(wide / 2, rel=0.12)
    assert narrow == pytest.approx(2 * 1.96 / np.sqrt(800), rel=0.08)
    assert stratified_interval(mean_score, scores) == (low, high)
    assert stratified_interval(mean_score, scores, seed=1) != (low, high)


def test_a_statistic_that_never_varies_has_an_interval_of_no_width() -> None:
    assert stratified_interval(mean_score, [2.0, 2.0], method="bca") == (2.0, 2.0)


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 95"):
        stratified_interval(iqm, SCORES, confidence=95)
    with pytest.raises(ValueError, match="n_resamples must be at least 1, got 0"):
        stratified_band(iqm, SCORES, n_resamples=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method must be one of 'percentile', 'bca', got 'basic'"):
        stratified_interval(iqm, SCORES, method="basic")
    with pytest.raises(ValueError, match="needs at least 2, got 1 run"):
        stratified_interval(mean_score, [[1.0, 2.0]], method="bca")


def test_a_single_run_says_nothing_of_its_spread() -> None:
    # One run of five tasks: each draw takes it again, so the bootstrap has no width; two runs of a task have one.
    one_run = [[31.0, 55.0, 70.0, 20.0, 64.0]]
    assert np.isnan(stratified_interval(iqm, one_run)).all()
    assert np.isnan(stratified_interval(probability_of_improvement, one_run, [[0.0] * 5, [1.0] * 5])).all()
    low, high = stratified_band(lambda s: s.mean(axis=0), one_run)
    assert low.shape == high.shape == (5,)
    assert np.isnan([low, high]).all()
    assert stratified_interval(mean_score, [0.0, 1.0]) == (0.0, 1.0)

"""Means, standard errors and bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from offlinekit.metrics import bootstrap_interval, mean, standard_error


def test_mean_and_standard_error_by_hand() -> None:
    # 1, 2, 6: mean 3, sample variance (4 + 1 + 9) / 2 = 7, standard error sqrt(7 / 3).
    assert mean([1, 2, 6]) == 3
    assert standard_error([1, 2, 6]) == pytest.approx((7 / 3) ** 0.5)


def test_standard_error_of_one_value_is_unknown() -> None:
    assert np.isnan(standard_error([4.0]))


def test_bootstrap_interval_of_many_values_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = bootstrap_interval(values, n_resamples=4_000)
    assert low == pytest.approx(values.mean() - 1.96 * standard_error(values), abs=0.02)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error(values), abs=0.02)


def test_bootstrap_interval_follows_its_seed_confidence_and_statistic() -> None:
    values = [0.0, 0.0, 0.0, 1.0, 9.0]
    assert bootstrap_interval(values) == bootstrap_interval(values, seed=0)
    low, high = bootstrap_interval(values, confidence=0.5)
    wide_low, wide_high = bootstrap_interval(values, confidence=0.99)
    assert wide_low <= low <= high < wide_high
    # A median of five draws reaches 9 only where three of them do: 5.8% of the draws, inside a 99% interval.
    assert bootstrap_interval(values, confidence=0.99, statistic=np.median) == (0.0, 9.0)
    assert bootstrap_interval(values, confidence=0.8, statistic=np.median) == (0.0, 1.0)


def test_bootstrap_intervals_of_other_seeds_differ() -> None:
    values = np.random.default_rng(1).normal(size=30)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 3.0])
def test_what_is_no_list_of_values_is_refused(values: object) -> None:
    for function in (mean, standard_error, bootstrap_interval):
        with pytest.raises(ValueError, match="at least one value"):
            function(values)  # type: ignore[operator]


@pytest.mark.parametrize(("name", "value"), [("confidence", 1.0), ("confidence", 0.0), ("n_resamples", 0)])
def test_arguments_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        bootstrap_interval([1.0, 2.0], **{name: value})  # type: ignore[arg-type]

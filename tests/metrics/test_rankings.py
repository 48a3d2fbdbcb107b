"""Rankings of policies by hand."""

from __future__ import annotations

import math

import pytest

from offlinekit.metrics.statistics.rankings import (
    error_rates,
    mean_squared_error,
    rank_correlation,
    regret_at_k,
    sharpe_ratio_at_k,
)

ESTIMATES = [3.0, 9.0, 1.0, 5.0]
TRUTHS = [10.0, 4.0, 2.0, 6.0]


def test_mean_squared_error():
    # (49 + 25 + 1 + 1) / 4
    assert mean_squared_error(ESTIMATES, TRUTHS) == 19.0


def test_rank_correlation():
    # Ranks 2 4 1 3 against 4 2 1 3: 1 - 6 (4 + 4) / (4 * 15) = 0.2
    assert rank_correlation(ESTIMATES, TRUTHS) == pytest.approx(0.2)
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1.0)
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(("k", "lost"), [(1, 6.0), (2, 4.0), (3, 0.0), (4, 0.0)])
def test_regret(k, lost):
    # By estimate: true 4, 6, 10, 2; the best is 10, the range 8.
    assert regret_at_k(ESTIMATES, TRUTHS, k, normalize=False) == lost
    assert regret_at_k(ESTIMATES, TRUTHS, k) == lost / 8


def test_regret_where_all_are_equal():
    assert regret_at_k([1, 2], [5, 5]) == 0.0


def test_error_rates():
    # At or above 5: true 10 and 6, of which 3 (of 10) is held back; below: 4 and 2, of which 9 (of 4) passes.
    rates = error_rates(ESTIMATES, TRUTHS, 5.0)
    assert (rates.type_1, rates.type_2) == (0.5, 0.5)
    assert error_rates(ESTIMATES, TRUTHS, 10.0).type_2 == 1.0  # At the threshold is good enough.
    assert math.isnan(error_rates(ESTIMATES, TRUTHS, 0.0).type_1)


def test_sharpe_ratio():
    # Top 2: true 4 and 6, mean 5, deviation 1: (6 - 3) / 1
    assert sharpe_ratio_at_k(ESTIMATES, TRUTHS, 3.0, 2) == 3.0
    assert sharpe_ratio_at_k(ESTIMATES, TRUTHS, 3.0, 1) == math.inf


def test_bad_input():
    with pytest.raises(ValueError, match=r"two arrays \[P\], got \(2,\) and \(3,\)"):
        rank_correlation([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="k must be from 1 to the number of policies, 2, got 3"):
        regret_at_k([1, 2], [1, 2], 3)
    with pytest.raises(ValueError, match="got 0"):
        sharpe_ratio_at_k([1, 2], [1, 2], 0.0, 0)

"""Two groups of scores by hand: the interval of their difference, and what so many runs show."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offlinekit.metrics.reporting.comparing import _margin, compare_scores


def test_a_difference_by_hand() -> None:
    # {1, 2, 3} and {5, 7}: means 2, 6, variances 1, 2; squared error 1 / 3 + 2 / 2 = 4 / 3;
    # degrees of freedom (4 / 3)**2 / ((1 / 9) / 2 + 1 / 1) = 32 / 19 = 1.684.
    from scipy import stats

    found = compare_scores([1.0, 2.0, 3.0], [5.0, 7.0])
    margin = stats.t.ppf(0.975, 32 / 19) * math.sqrt(4 / 3)
    assert (found.means, found.difference) == ((2.0, 6.0), -4.0)
    assert found.interval == pytest.approx((-4 - margin, -4 + margin))
    assert found.improvement == 0
    theirs = stats.ttest_ind([1.0, 2.0, 3.0], [5.0, 7.0], equal_var=False).confidence_interval()
    assert found.interval == pytest.approx((theirs.low, theirs.high))
    # The integral over both variances' distributions says 10.886; draws come near it. Of 3 runs each it says 4.3, of 4
    # each 3.1, and the difference is 4.
    assert found.detectable == pytest.approx(10.886, rel=0.02)
    assert found.runs_needed == 4
    assert not found.suffices


def test_what_runs_show_follows_the_noncentral_t_if_one_group_alone_varies() -> None:
    # {0, 1, 2} and {4, 4, 4}: variances 1 and 0, so 2 degrees of freedom whatever is drawn: the quantile 4.3027 of t
    # is exceeded with probability 0.8 at the noncentrality 5.6535, times the error sqrt(1 / 3): 3.2640.
    # 2 runs each show 16.334 sqrt(1 / 2) = 11.55, the difference is 3.
    found = compare_scores([0.0, 1.0, 2.0], [4.0, 4.0, 4.0])
    assert found.detectable == pytest.approx(3.2640, abs=1e-3)
    # 4 runs show 4.2559 / 2 = 2.13 with 3 degrees.
    assert (found.difference, found.runs_needed) == (-3.0, 4)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_what_runs_are_said_to_show_they_show_four_times_in_five(n: int) -> None:
    rng, steps = np.random.default_rng(0), np.arange(n) - (n - 1) / 2
    scores = steps / steps.std(ddof=1)
    difference = compare_scores(scores, scores).detectable
    first, second = rng.normal(difference, size=(n, 4_000)), rng.normal(size=(n, 4_000))
    margins = _margin([group.var(0, ddof=1)[None] for group in (first, second)], (n, n))
    # Standard error sqrt(0.8 * 0.2 / 4000) = 0.0063.
    assert (first.mean(0) - second.mean(0) > margins).mean() == pytest.approx(0.8, abs=0.025)


def test_seeds_that_suffice_and_seeds_that_do_not() -> None:
    assert (
        compare_scores([10.0, 11.0, 12.0], [1.0, 2.0, 3.0]).verdict
        == "A, the first, is better; the seeds suffice"
    )
    assert compare_scores([1.0, 2.0, 3.0], [10.0, 11.0, 12.0]).verdict.startswith("B, the second, is better")
    # Means 5 and 6, variances 50 each: 2.80159**2 * 100 / 1 = 784.9, of known variances; t of 1,570 degrees, whose
    # quantiles are about 1 + (1 + 2**2) / (4 * 1570) times as large, needs one more.
    close = compare_scores([0.0, 10.0], [1.0, 11.0])
    assert close.runs_needed == 786
    assert close.verdict.endswith(
        "do not suffice to tell which is better; a difference as observed needs about 786 seeds each"
    )
    alone = compare_scores([1.0], [2.0, 3.0])
    assert math.isnan(alone.interval[0])
    assert alone.runs_needed is None
    assert "one run of a group" in alone.verdict
    assert (
        compare_scores([1.0, 2.0], [1.0, 2.0]).verdict == "the seeds do not suffice to tell which is better"
    )


def test_several_tasks_add_the_spread_within_each() -> None:
    # Tasks of {0, 2} and {10, 14}: variances 2 and 8. Of the mean over the two tasks: (2 + 8) / 4 = 2.5; against a
    # group that does not vary: squared error 2.5 / 2. Degrees of freedom, from the parts 2 / 2 / 4 and 8 / 2 / 4:
    # 1.25**2 / (0.0625 + 1) = 1.4706.
    from scipy import stats

    found = compare_scores([[0.0, 10.0], [2.0, 14.0]], [[1.0, 1.0], [1.0, 1.0]])
    assert found.difference == 5.5
    margin = stats.t.ppf(0.975, 1.5625 / 1.0625) * math.sqrt(1.25)
    assert found.interval == pytest.approx((5.5 - margin, 5.5 + margin))


def test_groups_without_spread_never_suffice() -> None:
    for first, second in (([1.0, 1.0], [2.0, 2.0]), ([1.0, 1.1, 1.2], [9.0, 9.0, 9.0])):
        found = compare_scores(first, second)
        assert not found.suffices
        assert found.verdict.startswith("the runs of a group do not differ at all")

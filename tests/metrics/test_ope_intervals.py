"""Intervals: their widths by hand, how they shrink, and that they cover."""

from __future__ import annotations

import numpy as np
import pytest

from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.intervals import (
    INTERVALS,
    bootstrap,
    empirical_bernstein,
    expanded_tail,
    hoeffding,
    interval_of,
    student_t,
)


def test_student_t_by_hand() -> None:
    # Mean 3, s = sqrt(7), n = 3, and t with 2 degrees of freedom is 4.30265 at 0.975.
    low, high = student_t(np.array([1.0, 2.0, 6.0]))
    assert (high - low) / 2 == pytest.approx(4.302653 * np.sqrt(7 / 3), rel=1e-6)
    assert (high + low) / 2 == pytest.approx(3.0)


def test_hoeffding_by_hand() -> None:
    # 2 * sqrt(ln 40 / 8) for 4 values in [0, 2].
    low, high = hoeffding(np.array([0.0, 1.0, 1.0, 2.0]), bounds=(0.0, 2.0))
    assert (low, high) == pytest.approx((1 - 2 * np.sqrt(np.log(40) / 8), 1 + 2 * np.sqrt(np.log(40) / 8)))
    assert hoeffding(np.array([0.0, 1.0, 1.0, 2.0])) == (low, high)


def test_bernstein_by_hand() -> None:
    # s^2 = 2 / 3, ln(4 / 0.05) = 4.38203; sqrt(2 * 2 / 3 * 4.38203 / 4) + 7 * 3 * 4.38203 / 9.
    low, high = empirical_bernstein(np.array([0.0, 1.0, 1.0, 2.0]), bounds=(0.0, 3.0))
    assert (high - low) / 2 == pytest.approx(np.sqrt(4 / 3 * 4.382027 / 4) + 21 * 4.382027 / 9, rel=1e-6)
    assert (high + low) / 2 == pytest.approx(1.0)


@pytest.mark.parametrize("name", INTERVALS)
def test_widths_shrink_with_the_root_of_the_number(name: str) -> None:
    values = np.random.default_rng(0).random(2_500)
    short, long = (
        np.subtract(*interval_of(Contributions.plain(v), name)[::-1]) for v in (values, np.tile(values, 16))
    )
    expected = (
        0.25 if name != "bernstein" else pytest.approx(0.21, abs=0.05)
    )  # Its second term goes as 1 / n.
    assert long / short == (pytest.approx(expected, abs=0.02) if name != "bernstein" else expected)


@pytest.mark.parametrize("name", INTERVALS)
def test_confidence_widens(name: str) -> None:
    found = Contributions.plain(np.random.default_rng(0).random(200))
    (a, b), (c, d) = interval_of(found, name, 0.8), interval_of(found, name, 0.99)
    assert c < a < found.value < b < d


def test_bootstrap_takes_the_normalisation_anew() -> None:
    rng = np.random.default_rng(0)
    weights = rng.random((300, 1))
    sure = Contributions(
        weights * 2.0, weights
    )  # Every return is 2, so a weighted mean is 2 in each resample.
    assert bootstrap(sure) == pytest.approx((2.0, 2.0))
    low, high = bootstrap(Contributions.plain((weights * 4.0)[:, 0]))
    assert high - low > 0.1
    assert bootstrap(sure, seed=1) == bootstrap(sure, seed=1)


def test_few_episodes_have_intervals_as_wide_as_students():
    # n = 5: t(4, 0.025) = -2.7764, times sqrt(5 / 4) = -3.1042, below which a normal draw lies with 0.000954.
    assert expanded_tail(5, 0.95) == pytest.approx(0.000954, abs=2e-6)
    assert expanded_tail(100_000, 0.95) == pytest.approx(0.025, abs=1e-5)
    assert expanded_tail(1, 0.9) == pytest.approx(0.05)


def test_bootstrap_agrees_with_the_delta_method() -> None:
    rng = np.random.default_rng(0)
    weights = rng.random((800, 3)) + 0.5
    ratio = Contributions(weights * rng.normal(1, 1, (800, 3)), weights)
    assert bootstrap(ratio, n_resamples=4_000) == pytest.approx(student_t(ratio.per_episode), abs=0.015)


@pytest.mark.parametrize(("name", "least", "most"), [("bootstrap", 0.92, 0.98), ("t", 0.93, 0.98)])
def test_nominal_intervals_cover(name: str, least: float, most: float) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for draw in range(300):
        low, high = interval_of(Contributions.plain(rng.exponential(size=120)), name, seed=draw)
        held += low <= 1.0 <= high
    assert least <= held / 300 <= most


def test_bounded_intervals_hold_with_weights_that_were_seen_or_not() -> None:
    rng = np.random.default_rng(0)
    for name in ("bernstein", "hoeffding"):
        for _ in range(50):
            found = Contributions.plain((rng.random(60) < 0.05).astype(float))
            low, high = interval_of(found, name, bounds=(0.0, 1.0))
            assert low <= 0.05 <= high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("wald",), "interval must be one of bootstrap, t, bernstein, hoeffding, got 'wald'"),
        (("t", 1.0), r"confidence must be in \(0, 1\), got 1.0"),
    ],
)
def test_what_cannot_be(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interval_of(Contributions.plain(np.ones(3)), *arguments)
    with pytest.raises(ValueError, match="needs at least 2 episodes, got 1"):
        student_t(np.ones(1))
    for bounds in ((2.0, 1.0), (np.nan, 9.0)):
        with pytest.raises(ValueError, match="with low at most high"):
            hoeffding(np.array([0.0, 5.0]), bounds=bounds)
    with pytest.raises(ValueError, match="outside the bounds"):
        hoeffding(np.array([0.0, 5.0]), bounds=(0.0, 1.0))

"""Intervals of an estimate from episodes that are independent of each other."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import stats

from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.logged import Floats

IntervalName = Literal["bootstrap", "t", "bernstein", "hoeffding"]
INTERVALS = ("bootstrap", "t", "bernstein", "hoeffding")
BLOCK = 5_000_000  # Counts in memory at a time.


def bootstrap(
    contributions: Contributions, confidence: float = 0.95, n_resamples: int = 1_000, seed: int = 0
) -> tuple[float, float]:
    """Returns the expanded percentile interval of the estimate over episodes drawn again with replacement.

    Every sum of the estimate is taken anew in each draw, the normalisation of weights too. A draw without any weight
    may lie anywhere: it counts as the lowest for the lower end and as the highest for the upper one. Source: Efron &
    Tibshirani 1993, section 13.3; levels as of `expanded_tail`.
    """
    n = _checked(contributions.numerators, confidence)
    rng, draws = np.random.default_rng(seed), []
    for block in np.array_split(np.arange(n_resamples), -(-n_resamples * n // BLOCK)):
        # Counts of n uniform draws are multinomial, and counted many times sooner than drawn as such.
        counts = [np.bincount(rng.integers(n, size=n), minlength=n) for _ in block]
        draws.append(contributions.resampled(np.array(counts, np.float64)))
    return _quantiles(np.concatenate(draws), expanded_tail(n, confidence))


def expanded_tail(n: int, confidence: float) -> float:
    """Returns the share of draws beyond each end by which an interval is as wide as Student's t of n episodes.

    Draws of n episodes spread by the deviation with n below the fraction, and know nothing of its own error:
    Phi(sqrt(n / (n - 1)) t(n - 1, alpha / 2)) in place of alpha / 2. Source: Hesterberg 2015, "What teachers should
    know about the bootstrap", section 4.4 (the expanded percentile interval).
    """
    tail = (1 - confidence) / 2
    return tail if n < 2 else float(stats.norm.cdf(np.sqrt(n / (n - 1)) * stats.t.ppf(tail, n - 1)))


def _quantiles(draws: Floats, tail: float) -> tuple[float, float]:
    if not np.isnan(draws).any():
        low, high = np.quantile(draws, [tail, 1 - tail])
        return float(low), float(high)
    if np.isnan(draws).all():
        return float("nan"), float("nan")
    low = np.quantile(np.where(np.isnan(draws), -np.inf, draws), tail, method="lower")
    high = np.quantile(np.where(np.isnan(draws), np.inf, draws), 1 - tail, method="higher")
    return float(low), float(high)


def student_t(values: Floats, confidence: float = 0.95) -> tuple[float, float]:
    """Returns mean -+ t(n - 1, 1 - alpha / 2) s / sqrt(n), two-sided, of values [n], n at least 2."""
    n = _checked(values, confidence, at_least=2)
    width = stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return float(values.mean() - width), float(values.mean() + width)


def hoeffding(
    values: Floats, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Returns mean -+ (high - low) sqrt(ln(2 / alpha) / (2 n)): holds for any n if the bounds hold.

    Source: Hoeffding 1963, theorem 2, both sides.

    Args:
        values: [n].
        confidence: 1 - alpha.
        bounds: (low, high) that no value can leave; None takes the observed ones, and then nothing is
            guaranteed: weights that were not seen may be larger.
    """
    n = _checked(values, confidence)
    width = _span(values, bounds) * np.sqrt(np.log(2 / (1 - confidence)) / (2 * n))
    return float(values.mean() - width), float(values.mean() + width)


def empirical_bernstein(
    values: Floats, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> tuple[float, float]:
    """Returns mean -+ [s sqrt(2 ln(4 / alpha) / n) + 7 (high - low) ln(4 / alpha) / (3 (n - 1))].

    Narrower than Hoeffding's if the values spread little within their bounds. Source: Maurer & Pontil
    2009, arXiv:0907.3740, theorem 4, with alpha / 2 for each side.

    Args:
        values: [n], n at least 2.
        confidence: 1 - alpha.
        bounds: As for `hoeffding`.
    """
    n = _checked(values, confidence, at_least=2)
    term = np.log(4 / (1 - confidence))
    width = values.std(ddof=1) * np.sqrt(2 * term / n) + 7 * _span(values, bounds) * term / (3 * (n - 1))
    return float(values.mean() - width), float(values.mean() + width)


@answers_guesses
def interval_of(
    contributions: Contributions,
    name: str,
    confidence: float = 0.95,
    *,
    bounds: tuple[float, float] | None = None,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns an interval by its name: "bootstrap", "t", "bernstein" or "hoeffding".

    Raises:
        ValueError: For another name, and for fewer episodes than it needs.
    """
    if name == "bootstrap":
        return bootstrap(contributions, confidence, seed=seed)
    if name == "t":
        return student_t(contributions.per_episode, confidence)
    if name == "bernstein":
        return empirical_bernstein(contributions.per_episode, confidence, bounds)
    if name == "hoeffding":
        return hoeffding(contributions.per_episode, confidence, bounds)
    raise ValueError(f"interval must be one of {', '.join(INTERVALS)}, got {name!r}")


def _checked(values: Floats, confidence: float, at_least: int = 1) -> int:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")
    if len(values) < at_least:
        raise ValueError(f"this interval needs at least {at_least} episodes, got {len(values)}")
    return len(values)


def _span(values: Floats, bounds: tuple[float, float] | None) -> float:
    low, high = (values.min(), values.max()) if bounds is None else bounds
    if not low <= high:
        raise ValueError(f"bounds must be (low, high) with low at most high, got ({low}, {high})")
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    if values.min() < low - slack or values.max() > high + slack:
        raise ValueError(
            f"contributions lie in [{values.min():g}, {values.max():g}], outside the bounds ({low:g}, {high:g}); "
            "give the bounds of weight times return, or None"
        )
    return float(high - low)

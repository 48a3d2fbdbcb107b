"""Quality of a ranking of policies against known values: pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Values = npt.ArrayLike


def mean_squared_error(estimates: Values, truths: Values) -> float:
    """Returns the mean over policies of (estimate - truth)**2, in units of return squared."""
    estimated, true = _pair(estimates, truths)
    return float(np.square(estimated - true).mean())


def rank_correlation(estimates: Values, truths: Values) -> float:
    """Returns Spearman's rank correlation in [-1, 1]; NaN if all values of one side are equal.

    Source: Fu et al. 2021 (DOPE), arXiv:2103.16596, section 3.
    """
    estimated, true = _pair(estimates, truths)
    if np.ptp(estimated) == 0 or np.ptp(true) == 0:
        return float("nan")
    return float(stats.spearmanr(estimated, true).statistic)


def regret_at_k(estimates: Values, truths: Values, k: int = 1, *, normalize: bool = True) -> float:
    """Returns what is lost by deploying the best of the k policies that are estimated best.

    The value of the best policy minus that of the best among the k with the highest estimates; normalised by the
    difference of the best and the worst policy, and then in [0, 1]. Of equal estimates the earlier come first.
    Source: Fu et al. 2021 (DOPE), arXiv:2103.16596, section 3.

    Raises:
        ValueError: For a k below 1 or above the number of policies.
    """
    estimated, true = _pair(estimates, truths)
    _check_k(k, len(estimated))
    lost = true.max() - true[_ranked(estimated)[:k]].max()
    spread = np.ptp(true) if normalize else 1.0
    return float(lost / spread) if spread else 0.0


@dataclass(frozen=True)
class ErrorRates:
    """Errors of a threshold on estimates that decides which policies are deployed.

    Attributes:
        type_1: Share of the policies below the threshold that are estimated at or above it: wrongly deployed.
        type_2: Share of those at or above it that are estimated below it: wrongly held back.
    """

    type_1: float
    type_2: float


def error_rates(estimates: Values, truths: Values, threshold: float) -> ErrorRates:
    """Returns the errors of deploying whatever is estimated at or above a threshold; NaN if none can be made.

    Args:
        estimates: [P], values or their lower bounds.
        truths: [P].
        threshold: In units of return, such as the value of the behaviour.
    """
    estimated, true = _pair(estimates, truths)
    good = true >= threshold
    with np.errstate(invalid="ignore"):
        wrong = np.float64((estimated[~good] >= threshold).sum()) / (~good).sum()
        missed = np.float64((estimated[good] < threshold).sum()) / good.sum()
    return ErrorRates(float(wrong), float(missed))


def sharpe_ratio_at_k(estimates: Values, truths: Values, baseline: float, k: int) -> float:
    """Returns (best of the top k - baseline) / standard deviation of the top k, all by their true values.

    What a portfolio of the k policies with the highest estimates earns over not deploying, by the risk of trying
    them. Source: Kiyohara et al. 2024 (SharpeRatio@k), arXiv:2311.18207, eq. (1). With k = 1 the risk is 0 and the
    result is infinite, or NaN at the baseline.

    Raises:
        ValueError: For a k below 1 or above the number of policies.
    """
    estimated, true = _pair(estimates, truths)
    _check_k(k, len(estimated))
    top = true[_ranked(estimated)[:k]]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(top.max() - baseline) / top.std())


def _ranked(estimates: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return np.argsort(-estimates, kind="stable")


def _check_k(k: int, n: int) -> None:
    if not 1 <= k <= n:
        raise ValueError(f"k must be from 1 to the number of policies, {n}, got {k}")


def _pair(estimates: Values, truths: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    estimated, true = np.asarray(estimates, np.float64), np.asarray(truths, np.float64)
    if estimated.shape != true.shape or estimated.ndim != 1 or not len(estimated):
        raise ValueError(
            f"expected one estimate and one true value a policy, two arrays [P], got {estimated.shape} and {true.shape}"
        )
    return estimated, true

"""Whether importance weights average 1, as they must: what no effective sample size and no tail can show."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from offlinekit.metrics.ope.diagnostics import ROUNDING
from offlinekit.metrics.ope.logged import Floats, Logged

MOST_ERRORS = 3.0  # A mean of weights so many standard errors from 1 is no accident.


@dataclass(frozen=True)
class MeanWeight:
    """Distance of importance weights from their mean of 1, at the step where it is largest.

    Every ratio has the expectation 1 under the behaviour, whatever came before it, and so has the product of any
    number of them. A mean below 1 says that the target does what the behaviour never or hardly did, one above 1 that
    the propensities are wrong. Source: Owen 2013, "Monte Carlo theory, methods and examples", section 9.1.

    Attributes:
        value: Mean over episodes.
        standard_error: Of that mean, from the spread over episodes; 0 where no episode differs.
        step: Ratios in each product; 0 stands for single ratios, averaged over all steps.
        n_means: Means among which it is the furthest from 1.
    """

    value: float
    standard_error: float
    step: int
    n_means: int = 1

    @property
    def errors(self) -> float:
        """Standard errors from 1, signed; infinite if the mean is not 1 though no episode differs."""
        distance = self.value - 1
        if abs(distance) < ROUNDING:
            return 0.0
        if self.standard_error == 0:
            return float(np.copysign(np.inf, distance))
        return float(distance / self.standard_error)

    @property
    def is_off(self) -> bool:
        """Whether it is too far from 1 for an accident: as unlikely as 3 standard errors of one mean (Bonferroni)."""
        return abs(self.errors) > float(stats.norm.isf(stats.norm.sf(MOST_ERRORS) / self.n_means))

    def __str__(self) -> str:
        subject = (
            f"weights of {self.step} step{'' if self.step == 1 else 's'}"
            if self.step
            else "ratios of one step"
        )
        return f"{subject} average {self.value:.3g} +- {self.standard_error:.2g} where 1 is due"


def mean_ratio(logged: Logged) -> MeanWeight:
    """Returns the mean of single ratios over all steps, 1 + mean_e sum_t (ratio - 1) / mean length.

    It varies far less than products do, so it also shows what long episodes hide.
    """
    excess = np.where(logged.mask, logged.ratios - 1, 0.0).sum(1) / logged.mask.sum(1).mean()
    return MeanWeight(float(1 + excess.mean()), _error(excess), 0)


def mean_weight(logged: Logged) -> MeanWeight:
    """Returns the mean that is the most standard errors from 1: of the products up to any step, or of single ratios."""
    weights = logged.weights()
    steps = [MeanWeight(float(w.mean()), _error(w), t + 1) for t, w in enumerate(weights.T)]
    furthest = max([steps[-1], mean_ratio(logged), *steps], key=lambda found: abs(found.errors))
    return replace(furthest, n_means=len(steps) + 1)


def _error(values: Floats) -> float:
    """Returns the standard error of the mean of values [E]; 0 of a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0

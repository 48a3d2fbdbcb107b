"""What an evaluation found, and what speaks against it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from offlinekit.metrics.ope.calibration import Calibration
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.diagnostics import TAIL_LIMIT, effective_sample_size
from offlinekit.metrics.ope.distribution import ReturnDistribution
from offlinekit.metrics.ope.estimators import Estimator, Inputs
from offlinekit.metrics.ope.logged import Logged

FEW = 25.0  # Below so many effective episodes an estimate rests on a handful of them.


@dataclass(frozen=True)
class Estimate:
    """What one estimator says a policy is worth.

    Attributes:
        value: Expected discounted return; NaN where the data cannot say it.
        interval: (low, high).
        confidence: That the interval is meant to hold the value.
        effective_sample_size: Episodes that the weights leave; all of them for estimators without weights.
        warnings: What speaks against trusting it.
    """

    value: float
    interval: tuple[float, float]
    confidence: float
    effective_sample_size: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What `estimate` found.

    Attributes:
        estimates: Name of the estimator to its estimate.
        contributions: Name of the estimator to what each episode contributes, for other intervals.
        logged: The padded episodes, for estimators of one's own.
        pareto_k: Shape of the weights' tail; above 0.7 their means cannot be trusted.
        calibration: Of the behaviour policy where it was fitted, else None.
        behaviour_value: Mean discounted return of the data.
    """

    estimates: dict[str, Estimate]
    contributions: dict[str, Contributions]
    logged: Logged
    pareto_k: float
    calibration: Calibration | None
    behaviour_value: float

    def __getitem__(self, name: str) -> Estimate:
        """Returns the estimate of an estimator."""
        return self.estimates[name]

    def distribution(self, clip: float | None = None) -> ReturnDistribution:
        """Returns the distribution of the discounted return under the target policy."""
        return ReturnDistribution.of(self.logged, clip)


def judged(
    estimator: Estimator,
    contributions: Contributions,
    inputs: Inputs,
    tail: float,
    interval: tuple[float, float],
    confidence: float,
    widened: bool,
) -> Estimate:
    """Returns the estimate of contributions, with what the weights say against it.

    Args:
        estimator: What made the contributions.
        contributions: Of the episodes.
        inputs: What it read.
        tail: Pareto k of the weights.
        interval: (low, high).
        confidence: Of the interval.
        widened: Whether the interval of an estimator that trusts its model counts the fit's own error.
    """
    effective = float(inputs.logged.n_episodes)
    warnings = []
    if estimator.needs_weights and not estimator.needs_flow:
        effective = effective_sample_size(inputs.logged.weights(inputs.clip)[:, -1])
        if isnan(contributions.value):
            warnings.append("no logged episode is possible under the target: 0 / 0")
        elif effective < FEW:
            warnings.append(f"{effective:.1f} effective episodes")
        if tail > TAIL_LIMIT and inputs.clip is None:
            warnings.append(f"heavy tail of weights (k {tail:.2f})")
    if estimator.trusts_model and not widened:
        warnings.append("the interval takes the fit as given")
    return Estimate(contributions.value, interval, confidence, effective, tuple(warnings))

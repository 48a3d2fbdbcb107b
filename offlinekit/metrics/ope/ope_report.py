"""Results of an off-policy evaluation, with the reasons to doubt them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from offlinekit.metrics.ope.calibration import Calibration
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.distribution import ReturnDistribution
from offlinekit.metrics.ope.estimands import WHOLE
from offlinekit.metrics.ope.logged import Logged
from offlinekit.metrics.ope.support import Support
from offlinekit.metrics.ope.weight_checks import MeanWeight


@dataclass(frozen=True)
class Estimate:
    """Value of a policy by one estimator.

    Attributes:
        value: Expected discounted return; NaN if the data do not determine it.
        interval: (low, high).
        confidence: That the interval is meant to hold the value.
        effective_sample_size: Episodes that the weights leave; all of them for estimators without weights.
        warnings: Reasons against relying on it.
        estimand: Which return it is: of "whole episodes", "to the cut", "beyond the cut", or "between both".
    """

    value: float
    interval: tuple[float, float]
    confidence: float
    effective_sample_size: float
    warnings: tuple[str, ...] = ()
    estimand: str = WHOLE


@dataclass(frozen=True)
class Report:
    """Results of `estimate`.

    Attributes:
        estimates: Name of the estimator to its estimate.
        contributions: Name of the estimator to what each episode contributes, for other intervals.
        logged: The padded episodes, for estimators of one's own.
        pareto_k: Shape of the weights' tail; above 0.7 their means are unreliable.
        calibration: Of the behaviour policy if it was fitted, else None.
        behaviour_value: Mean discounted return of the data.
        support: How much of what the policy does has no rows.
        mean_weight: How far the weights are from their mean of 1; None without propensities.
        left_out: Name of an estimator to why it has no value.
        warnings: What concerns the estimates together.
    """

    estimates: dict[str, Estimate]
    contributions: dict[str, Contributions]
    logged: Logged
    pareto_k: float
    calibration: Calibration | None
    behaviour_value: float
    support: Support
    mean_weight: MeanWeight | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Estimate:
        """Returns the estimate of an estimator.

        Raises:
            KeyError: For an estimator without a value, with the reason.
        """
        if name in self.left_out:
            raise KeyError(f"{name} has no value: {self.left_out[name]}")
        return self.estimates[name]

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers and warnings as plain data."""
        return {
            "behaviour_value": self.behaviour_value,
            "pareto_k": self.pareto_k,
            "outside_support": self.support.outside,
            "support": str(self.support),
            "mean_weight": None if self.mean_weight is None else asdict(self.mean_weight),
            "estimates": {name: asdict(estimate) for name, estimate in self.estimates.items()},
            "left_out": self.left_out,
            "warnings": self.warnings,
        }

    def distribution(self, clip: float | None = None) -> ReturnDistribution:
        """Returns the distribution of the discounted return under the target policy."""
        return ReturnDistribution.of(self.logged, clip)


NONE_APPLIES = (
    "no estimator applies to a policy whose probabilities are not known, without a model of its values: give fit_q or "
    "q_function (offlinekit ope --q fqe), or estimators=['model_based'] with dynamics"
)


def shared_warnings(
    estimates: dict[str, Estimate], left_out: dict[str, str], support: Support
) -> tuple[str, ...]:
    """Returns what concerns the estimates together: several estimands, estimators left out, none at all, no support."""
    aims: dict[str, list[str]] = {}
    for name, estimate in estimates.items():
        aims.setdefault(estimate.estimand, []).append(name)
    warnings = [f"{name} is left out: {why}" for name, why in left_out.items()]
    if not support.is_known:
        warnings.append(str(support))
    if len(aims) > 1:
        listed = "; ".join(f"{', '.join(names)}: {aim}" for aim, names in aims.items())
        warnings.append(f"the estimates aim at different returns, which are not to be compared: {listed}")
    if not estimates and not left_out:
        warnings.append(NONE_APPLIES)
    return tuple(warnings)

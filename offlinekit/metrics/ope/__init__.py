"""Off-policy evaluation: what a policy is worth, by data of another; one family of estimators a file."""

from __future__ import annotations

from offlinekit.metrics.ope.calibration import Calibration
from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.diagnostics import effective_sample_size, pareto_k
from offlinekit.metrics.ope.distribution import ReturnDistribution
from offlinekit.metrics.ope.estimate import estimate
from offlinekit.metrics.ope.estimators import ESTIMATORS
from offlinekit.metrics.ope.fitted_behaviour import FittedBehaviour, fit_behaviour
from offlinekit.metrics.ope.intervals import interval_of
from offlinekit.metrics.ope.logged import Logged
from offlinekit.metrics.ope.ope_report import Estimate, Report
from offlinekit.metrics.ope.tabular import TabularModel, exact_value, exact_values

__all__ = [
    "ESTIMATORS",
    "Calibration",
    "Contributions",
    "Estimate",
    "FittedBehaviour",
    "Logged",
    "Report",
    "ReturnDistribution",
    "TabularModel",
    "effective_sample_size",
    "estimate",
    "exact_value",
    "exact_values",
    "fit_behaviour",
    "interval_of",
    "pareto_k",
]

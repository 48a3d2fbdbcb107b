"""Reasons to doubt an estimate: thin or wrong weights, heavy tails, missing support, cut recordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.diagnostics import TAIL_LIMIT, effective_sample_size, tail_of
from offlinekit.metrics.ope.estimands import Cuts
from offlinekit.metrics.ope.estimators import Estimator
from offlinekit.metrics.ope.logged import Logged
from offlinekit.metrics.ope.ope_report import Estimate
from offlinekit.metrics.ope.support import Support
from offlinekit.metrics.ope.weight_checks import MeanWeight

SKEW_LIMIT = (
    1 / 3
)  # Above this Pareto k returns have no third moment, and a mean of hundreds is not yet normal.
FEW = 25.0  # Below so many effective episodes an estimate rests on a handful of them.


@dataclass(frozen=True)
class EstimateChecks:
    """Facts of the data that all estimates share.

    Attributes:
        logged: Padded episodes.
        tail: Pareto k of the weights of whole episodes; NaN without propensities.
        mean_weight: Its distance from 1; None without propensities.
        support: Of the policy by the data.
        cuts: Of the recordings.
        clip: Largest weight, or None.
        doubts: Reasons against the values of the model; none without one.
        widened: Whether intervals of estimators that trust a model count the fit's own error.
    """

    logged: Logged
    tail: float
    mean_weight: MeanWeight | None
    support: Support
    cuts: Cuts
    clip: float | None
    doubts: tuple[str, ...]
    widened: bool

    def estimate(
        self,
        estimator: Estimator,
        contributions: Contributions,
        interval: tuple[float, float],
        confidence: float,
    ) -> Estimate:
        """Returns the estimate of contributions, with the reasons against it."""
        estimand = self.cuts.estimand(estimator.reach)
        effective = float(self.logged.n_episodes)
        if estimator.multiplies_weights:
            effective = effective_sample_size(self.logged.weights(self.clip)[:, -1])
        warnings = [
            "no logged episode is possible under the target: 0 / 0"
            if np.isnan(contributions.value)
            else self._few(estimator, effective),
            *self._of_weights(estimator, contributions),
            self._of_returns(),
            str(self.support) if self.support.fails else "",
            *(self.doubts if estimator.relies_on_model else ()),
            self.cuts.warning(estimand),
            "the interval takes the fit as given" if estimator.trusts_model and not self.widened else "",
        ]
        said = tuple(warning for warning in warnings if warning)
        return Estimate(contributions.value, interval, confidence, effective, said, estimand)

    def _few(self, estimator: Estimator, effective: float) -> str:
        if effective >= FEW:
            return ""
        return (
            f"{effective:.1f} effective episodes"
            if estimator.multiplies_weights
            else f"{effective:.0f} episodes"
        )

    def _of_weights(self, estimator: Estimator, contributions: Contributions) -> list[str]:
        """Returns what the weights say against an estimate that uses them, for its value or for its interval."""
        is_widened = estimator.trusts_model and self.widened
        if not (estimator.needs_weights or is_widened) or np.isnan(contributions.value):
            return []
        doubts = [str(self.mean_weight)] if self.mean_weight is not None and self.mean_weight.is_off else []
        if not (estimator.multiplies_weights or is_widened):
            return doubts
        if self.tail > TAIL_LIMIT:
            doubts.append(f"heavy tail of weights (k {self.tail:.2f})")
        if (k := tail_of(contributions.numerators.sum(1))) > TAIL_LIMIT:
            doubts.append(f"heavy tail of what episodes contribute (k {k:.2f})")
        return [*doubts, self._of_clip()]

    def _of_returns(self) -> str:
        """Returns that returns themselves have a heavy tail, whatever the weights; empty if they have none.

        The prior is the limit, so that few returns are drawn to neither side of it.
        """
        k = tail_of(self.logged.returns, prior=SKEW_LIMIT)
        return f"heavy tail of returns (k {k:.2f})" if k > SKEW_LIMIT else ""

    def _of_clip(self) -> str:
        """Returns what clipping takes off the weights; empty if it takes less than 1%."""
        if self.clip is None:
            return ""
        whole, kept = self.logged.weights()[:, -1].sum(), self.logged.weights(self.clip)[:, -1].sum()
        share = 1 - kept / whole if whole > 0 else 0.0
        return f"clip takes {share:.0%} off the weights" if share > 0.01 else ""

"""When a policy may be deployed: bounds of its gain, and the rules that hold it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from offlinekit.metrics.ope.model_gain import ModelGain
from offlinekit.metrics.ope.weighted_estimate import WeightedEstimate
from offlinekit.types import Array


@dataclass(frozen=True)
class Candidate:
    """Facts of one policy.

    Attributes:
        name: As given.
        value: Estimated discounted return from the first states of the data.
        standard_error: Of that value, from the bootstrap over episodes.
        gain: Its value minus that of the behaviour.
        lower_bound: Of the gain, one-sided and corrected for the number of candidates; the lowest of all estimates;
            minus infinity if nothing bounds it.
        weighted_gain: The gain by weighted doubly robust; None if it has no estimate.
        model_gain: The gain in learned dynamics; None without any.
        effective_sample: Episodes' worth of rows that show what the policy does; None without propensities.
        held_back: The rule against deploying it, whatever the bound; empty if none does.
    """

    name: str
    value: float
    standard_error: float
    gain: float
    lower_bound: float
    weighted_gain: float | None = None
    effective_sample: float | None = None
    held_back: str = ""
    model_gain: float | None = None


@dataclass(frozen=True)
class Rules:
    """When a policy may be deployed.

    Attributes:
        confidence: Of one bound, one-sided.
        min_effective_sample: Episodes' worth of rows that must show what a policy does.
        max_disagreement: Standard errors that another estimate of the gain may lie from that of fitted Q.

    Raises:
        ValueError: For numbers out of range.
    """

    confidence: float
    min_effective_sample: float
    max_disagreement: float

    def __post_init__(self) -> None:
        if not self.min_effective_sample >= 0 or not self.max_disagreement > 0:
            raise ValueError(
                "min_effective_sample must be at least 0 and max_disagreement above 0, got "
                f"{self.min_effective_sample} and {self.max_disagreement}"
            )

    def candidate(
        self,
        name: str,
        own: Array,
        behaviour: Array,
        weighted: WeightedEstimate | None,
        doubts: Sequence[str] = (),
        without_rows: str = "",
        in_model: ModelGain | None = None,
    ) -> Candidate:
        """Returns what is known of a policy.

        Args:
            name: Of the policy.
            own: [1 + R], its fitted values.
            behaviour: [1 + R], those of the behaviour.
            weighted: The estimate by weighted episodes, or None.
            doubts: Reasons against it beside the bounds, the gravest first; empty texts do not.
            without_rows: That much of what it does has no rows, so that nothing bounds its gain; empty if little has.
            in_model: The estimate by learned dynamics, or None.
        """
        gains = own - behaviour
        gain, spread = float(gains[0]), float(gains[1:].std(ddof=1))
        lower = gain - self._quantile(len(gains) - 2) * spread
        if without_rows or not np.isfinite(lower):
            lower = -np.inf
        doubt = next((text for text in (without_rows, *doubts) if text), "")
        candidate = Candidate(name, float(own[0]), float(own[1:].std(ddof=1)), gain, lower, held_back=doubt)
        if in_model is not None:
            candidate = self._with_model(candidate, in_model, spread)
        if weighted is None:
            return candidate
        held_back = candidate.held_back or self._too_few(weighted) or _wrong_weights(weighted)
        candidate = replace(candidate, effective_sample=weighted.effective_sample, held_back=held_back)
        if weighted.gains is None:
            return candidate
        n, second = len(weighted.gains), float(weighted.gains.mean())
        error = float(weighted.gains.std(ddof=1) / np.sqrt(n))
        lower = min(candidate.lower_bound, second - self._quantile(n - 1) * error)
        apart = self._apart(gain, second, float(np.hypot(spread, error)), "weighted episodes")
        held_back = candidate.held_back or apart
        return replace(candidate, weighted_gain=second, lower_bound=lower, held_back=held_back)

    def _with_model(self, candidate: Candidate, in_model: ModelGain, spread: float) -> Candidate:
        """Returns a candidate with the bound, and the doubt, of learned dynamics."""
        lower = in_model.gain - self._quantile(in_model.degrees) * in_model.error
        error = float(np.hypot(spread, in_model.error))
        apart = self._apart(candidate.gain, in_model.gain, error, "the dynamics")
        return replace(
            candidate,
            model_gain=in_model.gain,
            lower_bound=min(candidate.lower_bound, lower),
            held_back=candidate.held_back or apart,
        )

    def too_few(self, n_episodes: int) -> str:
        """Returns that there are too few episodes, whatever the propensities show; empty if there are enough."""
        if n_episodes >= self.min_effective_sample:
            return ""
        return f"the data have {n_episodes} episodes (min_effective_sample={self.min_effective_sample:g})"

    def _too_few(self, weighted: WeightedEstimate) -> str:
        if weighted.effective_sample >= self.min_effective_sample:
            return ""
        return (
            f"the data show {weighted.effective_sample:.1f} effective episodes of what it does "
            f"(min_effective_sample={self.min_effective_sample:g})"
        )

    def _apart(self, gain: float, other: float, error: float, source: str) -> str:
        apart = abs(gain - other) / max(error, 1e-12)
        if apart <= self.max_disagreement:
            return ""
        return (
            f"the estimates disagree: a gain of {gain:.4g} by fitted Q, of {other:.4g} by {source}, "
            f"{apart:.1f} standard errors apart (max_disagreement={self.max_disagreement:g})"
        )

    def _quantile(self, degrees: int) -> float:
        return float(stats.t.ppf(self.confidence, degrees))


def _wrong_weights(weighted: WeightedEstimate) -> str:
    return str(weighted.mean_ratio) if weighted.mean_ratio.is_off else ""


def decide(candidates: list[Candidate], margin: float, confidence: float) -> tuple[str | None, str]:
    """Returns the name of the first candidate that may be deployed, or None, and why."""
    above = [candidate for candidate in candidates if candidate.lower_bound > margin]
    best = next((candidate for candidate in above if not candidate.held_back), (above or candidates)[0])
    if not above and best.lower_bound == -np.inf:
        doubts = "; ".join(f"{candidate.name}: {candidate.held_back}" for candidate in candidates)
        return None, f"keep the behaviour: nothing bounds the gain of any policy from below ({doubts})"
    gains = f"at least {best.lower_bound:.4g} over the behaviour at confidence {confidence:g}"
    if not above:
        reason = f"keep the behaviour: no policy surely gains more than {margin:g}; at best {best.name} gains {gains}"
        return None, f"{reason}, and {best.held_back}" if best.held_back else reason
    if best.held_back:
        return None, f"keep the behaviour: {best.name} gains {gains} by its bounds, but {best.held_back}"
    others = [best.weighted_gain, best.model_gain]
    n_others = len([gain for gain in others if gain is not None])
    source = ("fitted Q evaluation alone", "both estimates", "all three estimates")[n_others]
    return best.name, f"{best.name} gains {gains}, by {source}"

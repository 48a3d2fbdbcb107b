"""Contributions to an estimate: a sum of ratios of means over episodes, with its standard error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from offlinekit.metrics.ope.logged import Floats


@dataclass(frozen=True)
class Contributions:
    """sum_k mean(numerators[:, k]) / mean(denominators[:, k]): every estimator of this package is one.

    Attributes:
        numerators: [E, K].
        denominators: [E, K], not negative; None stands for ones, and the estimate is a plain mean.
        without_weight: What a term counts whose denominators are all zero: 0 with a model of its value, else NaN.
        known_value: The estimate, if large contributions around it would round it away; None computes it.
    """

    numerators: Floats
    denominators: Floats | None = None
    without_weight: float = 0.0
    known_value: float | None = None

    @classmethod
    def plain(cls, values: Floats) -> Contributions:
        """Returns the contributions of a mean of values [E]."""
        return cls(values[:, None])

    @cached_property
    def value(self) -> float:
        """The estimate."""
        if self.known_value is not None:
            return self.known_value
        return float(self.resampled(np.ones((1, len(self.numerators))))[0])

    @cached_property
    def per_episode(self) -> Floats:
        """[E], values whose mean is the estimate, and whose spread is its own.

        Of a plain mean they are the values themselves. Of ratios they are the estimate plus its influence
        function, sum_k (numerator - ratio * denominator) / mean denominator, the delta method.
        Source: Owen 2013, "Monte Carlo theory, methods and examples", section 9.2.
        """
        if self.denominators is None:
            return np.asarray(self.numerators.sum(1))
        means = self.denominators.mean(0)
        ratios = self._divided(self.numerators.mean(0), means)
        influence = self._divided(self.numerators - ratios * self.denominators, means[None])
        return np.asarray(self.value + influence.sum(1))

    def spread_as(self, other: Contributions) -> Contributions:
        """Returns contributions with this estimate, whose episodes vary as those of another."""
        spread = other.per_episode - other.per_episode.mean()
        return replace(Contributions.plain(self.value + spread), known_value=self.value)

    def resampled(self, counts: Floats) -> Floats:
        """Returns the estimate [R] for R samples in which episode e stands counts[r, e] times."""
        if self.denominators is None:
            return np.asarray(counts @ self.numerators.sum(1) / counts.sum(1))
        return np.asarray(self._divided(counts @ self.numerators, counts @ self.denominators).sum(1))

    def _divided(self, numerators: Floats, denominators: Floats) -> Floats:
        shape = np.broadcast_shapes(numerators.shape, denominators.shape)
        quotients: Floats = np.full(shape, self.without_weight)
        np.divide(numerators, denominators, out=quotients, where=denominators > 0)
        return quotients

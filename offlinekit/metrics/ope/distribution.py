"""The distribution of the return under the target policy, not its mean alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from offlinekit.metrics.ope.logged import Floats, Logged


@dataclass(frozen=True)
class ReturnDistribution:
    """Returns of episodes with the share that each has under the target policy.

    The weights are normalised to sum 1 (self-normalised; Chandak et al. 2021, arXiv:2104.12820, eq. (5), divides
    by n instead, which is unbiased and may exceed 1; Huang et al. 2021, arXiv:2104.08977, section 3, clips it).

    Attributes:
        returns: [E].
        weights: [E], not negative, not all 0.
    """

    returns: Floats
    weights: Floats

    def __post_init__(self) -> None:
        if self.returns.shape != self.weights.shape or self.returns.ndim != 1 or len(self.returns) == 0:
            raise ValueError(
                f"returns and weights must both be [E], got {list(self.returns.shape)} and {list(self.weights.shape)}"
            )
        if not (np.isfinite(self.returns).all() and np.isfinite(self.weights).all()):
            raise ValueError("returns and weights must be finite; some are infinite or not a number")
        if self.weights.min() < 0 or self.weights.sum() <= 0:
            raise ValueError(
                "weights must not be negative, nor all 0: no logged episode is possible under the target policy"
            )

    @classmethod
    def of(cls, logged: Logged, clip: float | None = None) -> ReturnDistribution:
        """Returns the distribution of the discounted returns of logged episodes under the target policy."""
        return cls(logged.returns, logged.weights(clip)[:, -1])

    @cached_property
    def _sorted(self) -> tuple[Floats, Floats]:
        order = np.argsort(self.returns, kind="stable")
        return self.returns[order], self.weights[order] / self.weights.sum()

    @property
    def mean(self) -> float:
        """Weighted importance sampling."""
        returns, shares = self._sorted
        return float(shares @ returns)

    @property
    def variance(self) -> float:
        """Expected squared distance of a return from the mean."""
        returns, shares = self._sorted
        return float(shares @ (returns - self.mean) ** 2)

    @property
    def interquartile_range(self) -> float:
        """The 75% quantile less the 25% quantile."""
        return self.quantile(0.75) - self.quantile(0.25)

    def cdf(self, at: float) -> float:
        """Returns the probability of a return of at most `at`."""
        returns, shares = self._sorted
        return float(shares[returns <= at].sum())

    def quantile(self, level: float) -> float:
        """Returns the smallest return whose CDF reaches a level in (0, 1]."""
        _check_level(level)
        returns, shares = self._sorted
        index = int(np.searchsorted(np.cumsum(shares), level - 1e-12))
        return float(returns[min(index, len(returns) - 1)])

    def cvar(self, level: float) -> float:
        """Returns the mean of the worst `level` share of the returns; level 1 is the mean.

        Source: Rockafellar & Uryasev 2002, "Conditional value-at-risk for general loss distributions".
        """
        _check_level(level)
        returns, shares = self._sorted
        before = np.cumsum(shares) - shares
        taken = np.clip(level - before, 0.0, shares)
        return float(taken @ returns / taken.sum())

    def interval(
        self,
        statistic: Callable[[ReturnDistribution], float],
        confidence: float = 0.95,
        n_resamples: int = 500,
        seed: int = 0,
    ) -> tuple[float, float]:
        """Returns the percentile bootstrap interval, over episodes, of a statistic of the distribution.

        Args:
            statistic: Such as `lambda d: d.cvar(0.1)`.
            confidence: Share of the draws inside, in (0, 1).
            n_resamples: Number of draws; one in which every weight is 0 is left out.
            seed: Of the draws.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be in (0, 1), got {confidence}")
        rng = np.random.default_rng(seed)
        draws = rng.integers(len(self.returns), size=(n_resamples, len(self.returns)))
        drawn = [
            statistic(ReturnDistribution(self.returns[draw], self.weights[draw]))
            for draw in draws
            if self.weights[draw].sum() > 0
        ]
        low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


def _check_level(level: float) -> None:
    if not 0 < level <= 1:
        raise ValueError(f"level must be in (0, 1], got {level}")

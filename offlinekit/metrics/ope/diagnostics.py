"""Reliability of weights: effective sample size and the weight of their tail."""

from __future__ import annotations

import numpy as np

from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.ope.logged import Floats

TAIL_LIMIT = 0.7  # Above this Pareto k a mean of weights is unreliable (Vehtari et al. 2024, section 3).
ROUNDING = 1e-4  # Of a product of probabilities that were logged in single precision.


def effective_sample_size(weights: Floats) -> float:
    """Returns (sum w)^2 / sum w^2: how many equal weights [n] would say as much; 0 where all are 0.

    Source: Kong 1992, as in Owen 2013, section 9.3.
    """
    largest = weights.max(initial=0.0)
    if largest <= 0:
        return 0.0
    scaled = weights / largest
    return float(scaled.sum() ** 2 / (scaled**2).sum())


@answers_guesses
def pareto_k(weights: Floats, prior: float = 0.5) -> float:
    """Returns the shape of a generalised Pareto distribution fitted to the largest weights [n].

    The largest min(n / 5, 3 sqrt(n)) are fitted, less their threshold, but for those that equal it up to rounding.
    Below 0.5 the variance of the weights is finite, from 1 on not even their mean; NaN if fewer than 5 weights make
    the tail, -inf if it hardly spreads. Source: Vehtari et al. 2024, arXiv:1507.02646 (Pareto smoothed importance
    sampling).

    Args:
        weights: Not negative.
        prior: Towards which few of them shrink the shape, as by ten further observations.
    """
    n_tail = int(np.ceil(min(0.2 * len(weights), 3 * np.sqrt(len(weights)))))
    if n_tail < 5:
        return float("nan")
    ordered = np.sort(weights)
    tail = ordered[-n_tail:] - ordered[-n_tail - 1]
    tail = tail[tail > ROUNDING * ordered[-n_tail - 1]]
    if len(tail) < 5 or tail[-1] <= 1e-4 * ordered[-1]:
        return float("-inf")
    return _shape_of_pareto(tail, prior)


def tail_of(values: Floats, prior: float = 0.5) -> float:
    """Returns Pareto k of the distances of values [n] from their median: the tails of both sides."""
    return pareto_k(np.abs(values - np.median(values)), prior)


def _shape_of_pareto(excesses: Floats, prior: float) -> float:
    """Returns the posterior mean of k, shrunk towards a prior as by ten further observations.

    Source: Zhang & Stephens 2009, "A new and efficient estimation method for the generalized Pareto
    distribution"; Vehtari et al. 2024, appendix G for the shrinkage.

    Args:
        excesses: [n], positive, ascending.
        prior: Shape.
    """
    n = len(excesses)
    n_grid = 30 + int(np.sqrt(n))
    quartile = excesses[int(n / 4 + 0.5) - 1]
    steps = np.arange(1, n_grid + 1) - 0.5
    slopes = 1 / excesses[-1] + (1 - np.sqrt(n_grid / steps)) / (3 * quartile)
    shapes = np.log1p(-slopes[:, None] * excesses).mean(1)
    likelihoods = n * (np.log(-slopes / shapes) - shapes - 1)
    posterior = np.exp(likelihoods - likelihoods.max())
    slope = (slopes * posterior).sum() / posterior.sum()
    shape = np.log1p(-slope * excesses).mean()
    return float((n * shape + 10 * prior) / (n + 10))

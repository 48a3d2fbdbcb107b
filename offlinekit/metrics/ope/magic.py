"""MAGIC: the blend of j-step returns, from model alone to weights alone, of least estimated error."""

from __future__ import annotations

import numpy as np
from scipy import optimize

from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.doubly_robust import blended
from offlinekit.metrics.ope.intervals import bootstrap
from offlinekit.metrics.ope.logged import Floats, Logged

MAX_STEPS = 32
CONFIDENCE = 0.1  # Of the interval that the bias of a j-step return is measured from: 10%, as in the paper.


def magic(logged: Logged, clip: float | None = None, seed: int = 0) -> Contributions:
    """Returns sum_j x_j g^(j): g^(-1) is the model, g^(T-1) weighted doubly robust, g^(j) corrects steps 0..j.

    The shares x lie on the simplex and minimise x' (covariance + bias bias') x, where the bias of g^(j) is its
    distance from a 10% interval of weighted doubly robust. At most 33 values of j are used. Intervals
    take the shares as given. Source: Thomas & Brunskill 2016, arXiv:1604.00923, algorithm 1.

    Args:
        logged: With a model.
        clip: Largest weight.
        seed: Of the resamples behind the bias.
    """
    horizon = logged.mask.shape[1]
    ends = np.unique(np.linspace(0, horizon, min(horizon, MAX_STEPS) + 1).round().astype(int))
    blends = [blended(logged, (np.arange(horizon) < end).astype(np.float64), clip) for end in ends]
    low, high = bootstrap(blends[-1], CONFIDENCE, n_resamples=500, seed=seed)
    values = np.array([blend.value for blend in blends])
    bias = values - np.clip(values, low, high)
    spread = np.cov(np.stack([blend.per_episode for blend in blends])) / logged.n_episodes
    shares = least_error_shares(np.atleast_2d(spread), bias)
    steps = (shares[:, None] * (np.arange(horizon) < ends[:, None])).sum(0)
    return blended(logged, steps, clip)


def least_error_shares(covariance: Floats, bias: Floats) -> Floats:
    """Returns the x >= 0 [J] of sum 1 that minimises x' (covariance + bias bias') x.

    The minimiser is proportional to that of y' M y / 2 - sum y over y >= 0, which is a least-squares problem.
    """
    matrix = covariance + np.outer(bias, bias)
    scale = np.trace(matrix)
    if scale <= 0:
        return np.asarray(
            np.eye(len(bias))[-1]
        )  # Nothing varies and nothing is biased: weighted doubly robust.
    root = np.linalg.cholesky(matrix / scale + 1e-9 * np.eye(len(bias)))
    shares, _ = optimize.nnls(root.T, np.linalg.solve(root, np.ones(len(bias))))
    return np.asarray(shares / shares.sum())

"""A model's values, corrected by the weighted errors it makes on the data."""

from __future__ import annotations

import numpy as np

from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.logged import Floats, Logged


def direct_method(logged: Logged) -> Contributions:
    """Returns v(s_0): no weights, as good as the model; its interval does not cover the model's bias."""
    return Contributions.plain(logged.start_values)


def doubly_robust(logged: Logged, clip: float | None = None) -> Contributions:
    """Returns v(s_0) + sum_t gamma^t w_t (r_t + gamma v(s_{t+1}) - q(s_t, a_t)).

    Unbiased for any model that does not depend on the episode, and for any weights if the model is exact.
    Source: Jiang & Li 2016, arXiv:1511.03722, eq. (10), its recursion written out.
    """
    corrections = logged.weights(clip) * logged.td_errors
    return Contributions.plain(logged.start_values + corrections @ logged.discounts)


def weighted_doubly_robust(logged: Logged, clip: float | None = None) -> Contributions:
    """Returns doubly robust values with w_t / mean(w_t) in place of w_t: a little bias, far less variance.

    Source: Thomas & Brunskill 2016, arXiv:1604.00923, section 4, collected by TD errors.
    """
    return blended(logged, np.ones(logged.mask.shape[1]), clip)


def switch(logged: Logged, threshold: float = 10.0) -> Contributions:
    """Returns doubly robust values that leave to the model every step whose weight is above a threshold.

    Source: Wang, Agarwal & Dudik 2017, arXiv:1612.01205, section 3.2 (SWITCH-DR), step by step.

    Args:
        logged: With a model.
        threshold: Largest weight that is used; 0 is the direct method, infinity is doubly robust.
    """
    weights = logged.weights()
    corrections = np.where(weights <= threshold, weights, 0.0) * logged.td_errors
    return Contributions.plain(logged.start_values + corrections @ logged.discounts)


def blended(logged: Logged, shares: Floats, clip: float | None = None) -> Contributions:
    """Returns mean v(s_0) + sum_t shares_t gamma^t sum_e w_t td_error_t / sum_e w_t.

    Args:
        logged: With a model.
        shares: [T]; ones are weighted doubly robust, ones up to step j its j-step return.
        clip: Largest weight.
    """
    weights = logged.weights(clip)
    corrections = weights * logged.td_errors * (logged.discounts * shares)
    starts = logged.start_values[:, None]
    return Contributions(
        np.concatenate([starts, corrections], 1), np.concatenate([np.ones_like(starts), weights], 1)
    )

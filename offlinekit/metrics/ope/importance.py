"""Importance sampling: returns of the data, weighted by how much likelier the target policy made them."""

from __future__ import annotations

import numpy as np

from offlinekit.metrics.ope.contributions import Contributions
from offlinekit.metrics.ope.logged import Logged


def importance_sampling(logged: Logged, clip: float | None = None) -> Contributions:
    """Returns w_T * sum_t gamma^t r_t: unbiased, of a variance that grows exponentially with the horizon.

    Source: Precup, Sutton & Singh 2000, "Eligibility traces for off-policy policy evaluation", section 3.
    """
    return Contributions.plain(logged.weights(clip)[:, -1] * logged.returns)


def per_decision_importance_sampling(logged: Logged, clip: float | None = None) -> Contributions:
    """Returns sum_t gamma^t w_t r_t: unbiased; a reward is not weighted by what came after it.

    Source: Precup, Sutton & Singh 2000, eq. (5).
    """
    rewards = np.where(logged.mask, logged.rewards, 0.0)
    return Contributions.plain((logged.weights(clip) * rewards) @ logged.discounts)


def weighted_importance_sampling(logged: Logged, clip: float | None = None) -> Contributions:
    """Returns the mean of returns weighted by w_T / sum w_T: biased for few episodes, consistent, bounded.

    NaN if no logged episode is possible under the target. Source: Precup, Sutton & Singh 2000, section 3.
    """
    weights = logged.weights(clip)[:, -1:]
    return Contributions(weights * logged.returns[:, None], weights, np.nan)


def weighted_per_decision_importance_sampling(logged: Logged, clip: float | None = None) -> Contributions:
    """Returns sum_t gamma^t (sum_e w_t r_t / sum_e w_t), with the weight of an ended episode as it was.

    NaN if at some step no logged episode is possible under the target. Source: Thomas 2015, "Safe reinforcement
    learning", section 3.9 (consistent weighted per-decision).
    """
    weights = logged.weights(clip)
    rewards = np.where(logged.mask, logged.rewards, 0.0)
    return Contributions(weights * rewards * logged.discounts, weights, np.nan)

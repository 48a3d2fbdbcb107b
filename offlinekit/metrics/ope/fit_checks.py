"""Whether fitted values can be right, by what costs nothing: bounds, and the behaviour's own return."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from offlinekit.algos.fqe import FQE
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.ope.logged import Floats
from offlinekit.training.value_alarm import ADVICE
from offlinekit.types import Array

MOST_ERRORS = 3.0  # Standard errors of the behaviour's fit from what its episodes return.
SLACK = 1e-3  # Share of what rewards allow by which an approximate value may lie outside.
DIVERGED = 0.02  # Share by which a value lies outside that no further updates are worth it.


def scaled_rewards(fit: FQE, dataset: MDPDataset) -> Array:
    """Returns the rewards [N] in the units of the fit."""
    scaler = fit.scaling.reward
    return dataset.rewards if scaler is None else scaler.transform(dataset.rewards)


def possible_values(rewards: Array, gamma: float) -> tuple[float, float]:
    """Returns the lowest and highest value that any policy can have, whose episodes last a step at least."""
    longest = 1 / (1 - gamma) if gamma < 1 else np.inf
    low, high = float(rewards.min()), float(rewards.max())
    return low * (longest if low < 0 else 1), high * (longest if high > 0 else 1)


def impossible(
    values: Array | Sequence[float], fit: FQE, dataset: MDPDataset, tolerance: float = SLACK
) -> str:
    """Returns that values are not finite or that no rewards of the data could add up to them; empty if they could.

    `tolerance` is the share of the range of possible values by which one may lie outside.
    """
    low, high = possible_values(scaled_rewards(fit, dataset), fit.gamma)
    slack = tolerance * (high - low) if np.isfinite(high - low) else 0.0
    for value in values:
        if not low - slack <= value <= high + slack:
            return (
                f"the fit says {value:.4g}, where the rewards of the data allow {low:.4g} to {high:.4g}: {ADVICE}, "
                "or lower tau if it diverges"
            )
    return ""


def behaviour_missed(values: Floats, returns: Floats) -> str:
    """Returns that the behaviour's fit does not say what its own episodes return; empty if it does.

    Args:
        values: [1 + R], by the fit to the data and by those to bootstraps.
        returns: [E], discounted, of the episodes.
    """
    mean, error = returns.mean(), returns.std(ddof=1) / np.sqrt(len(returns)) if len(returns) > 1 else np.inf
    error = float(np.hypot(error, values[1:].std(ddof=1) if len(values) > 2 else 0.0))
    if abs(values[0] - mean) <= max(MOST_ERRORS * error, 0.01 * abs(mean)):
        return ""
    said = (
        f"the fit of the behaviour says {values[0]:.4g} where its episodes return {mean:.4g} +- {error:.2g}"
    )
    return f"{said}: {ADVICE}"

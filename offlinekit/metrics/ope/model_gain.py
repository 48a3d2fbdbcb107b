"""A further estimate for fitted policies: their gain in learned dynamics, the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.algos.fqe import FQE
from offlinekit.metrics.ope.logged import Floats
from offlinekit.metrics.ope.simulation import DynamicsModel, simulated
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset


@dataclass(frozen=True)
class ModelGain:
    """Gain of a policy over the behaviour in K models.

    Attributes:
        gain: Mean value in the models minus that of the recorded episodes.
        error: Of it: the deviation of the models' returns and the standard error of the episodes' together.
        degrees: K - 1.
    """

    gain: float
    error: float
    degrees: int


def model_gain_of(
    dynamics: DynamicsModel,
    target: TargetPolicy,
    fits: Sequence[FQE],
    baseline: Floats,
    dataset: MDPDataset,
) -> ModelGain:
    """Rolls a policy out in dynamics, and returns its gain in units of the fits' rewards.

    Rollouts stop at the cuts of the recorded episodes and count there what the fits say of the rest, as the baseline
    does: gains of one horizon, and that of the behaviour 0.

    Args:
        dynamics: The models.
        target: What acts.
        fits: FQE of it on the data, then on bootstraps, one of which each model takes; discount and units are theirs.
        baseline: [E], of the behaviour, as `baseline_of` returns it.
        dataset: Whose first states episodes begin with.
    """
    first, resampled = fits[0], fits[1:] or fits
    scaler = first.scaling.reward
    scale = None if scaler is None else scaler.transform

    def beyond(observations: Array, k: int) -> Floats:
        return target.state_values(resampled[k % len(resampled)].predict_value, observations)

    simulation = simulated(dynamics, target, dataset, first.gamma, first.seed or 0, scale, beyond)
    spread, chance = simulation.values.std(ddof=1), baseline.std(ddof=1) / np.sqrt(len(baseline))
    gain = float(simulation.returns.mean() - baseline.mean())
    return ModelGain(gain, float(np.hypot(spread, chance)), len(simulation.values) - 1)

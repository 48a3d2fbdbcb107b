"""A further estimate for fitted policies: their gain in learned dynamics, the same for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.algos.fqe import FQE
from offlinekit.metrics.ope.logged import Floats
from offlinekit.metrics.ope.simulation import DynamicsModel, simulated
from offlinekit.metrics.ope.target import TargetPolicy

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset


@dataclass(frozen=True)
class ModelGain:
    """Gain of a policy over the behaviour in K models.

    Attributes:
        gain: Mean return in the models minus that of the recorded episodes.
        error: Of it: the deviation of the models' returns and the standard error of the episodes' together.
        degrees: K - 1.
    """

    gain: float
    error: float
    degrees: int


def model_gain_of(
    dynamics: DynamicsModel, target: TargetPolicy, fit: FQE, baseline: Floats, dataset: MDPDataset
) -> ModelGain:
    """Rolls a policy out in dynamics, and returns its gain in units of the fit's rewards.

    Args:
        dynamics: The models.
        target: What acts.
        fit: Whose discount and units are taken.
        baseline: [E], of the behaviour, as `baseline_of` returns it.
        dataset: Whose first states episodes begin with.
    """
    scaler = fit.scaling.reward
    scale = None if scaler is None else scaler.transform
    simulation = simulated(dynamics, target, dataset, fit.gamma, fit.seed or 0, scale)
    spread, chance = simulation.values.std(ddof=1), baseline.std(ddof=1) / np.sqrt(len(baseline))
    gain = float(simulation.returns.mean() - baseline.mean())
    return ModelGain(gain, float(np.hypot(spread, chance)), len(simulation.values) - 1)

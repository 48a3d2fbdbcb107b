"""Sweeps: many settings of one algorithm, those of one architecture as one stacked program."""

from offlinekit.sweeps.evolution import (
    CMAES,
    PB2,
    PBT,
    EnvironmentFitness,
    EvaluatorFitness,
    Evolution,
    MultiFrequencyPBT,
    OfflineFitness,
)
from offlinekit.sweeps.pack import Trial
from offlinekit.sweeps.plan import Plan
from offlinekit.sweeps.space import Range
from offlinekit.sweeps.sweep import Sweep

__all__ = [
    "CMAES",
    "PB2",
    "PBT",
    "EnvironmentFitness",
    "EvaluatorFitness",
    "Evolution",
    "MultiFrequencyPBT",
    "OfflineFitness",
    "Plan",
    "Range",
    "Sweep",
    "Trial",
]

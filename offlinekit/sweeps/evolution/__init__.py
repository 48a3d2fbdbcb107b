"""Evolution: populations that improve themselves, judged on held-out episodes or in an environment."""

from offlinekit.sweeps.evolution.evolution import Evolution
from offlinekit.sweeps.evolution.fitness import EnvironmentFitness, EvaluatorFitness, OfflineFitness
from offlinekit.sweeps.evolution.generations import Evolved, Generation
from offlinekit.sweeps.evolution.scheduler import Scheduler

__all__ = [
    "EnvironmentFitness",
    "EvaluatorFitness",
    "Evolution",
    "Evolved",
    "Generation",
    "OfflineFitness",
    "Scheduler",
]

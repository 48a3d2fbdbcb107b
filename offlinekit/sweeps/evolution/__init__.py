"""Evolution: populations that improve themselves, judged on held-out episodes or in an environment."""

from offlinekit.sweeps.evolution.cma_es import CMAES
from offlinekit.sweeps.evolution.evolution import Evolution
from offlinekit.sweeps.evolution.fitness import EnvironmentFitness, EvaluatorFitness, OfflineFitness
from offlinekit.sweeps.evolution.generations import Evolved, Generation
from offlinekit.sweeps.evolution.population_based import PB2, PBT, MultiFrequencyPBT
from offlinekit.sweeps.evolution.scheduler import Scheduler

__all__ = [
    "CMAES",
    "PB2",
    "PBT",
    "EnvironmentFitness",
    "EvaluatorFitness",
    "Evolution",
    "Evolved",
    "Generation",
    "MultiFrequencyPBT",
    "OfflineFitness",
    "Scheduler",
]

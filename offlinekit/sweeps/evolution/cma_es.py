"""CMA-ES over settings: each generation trains new networks with settings drawn from an adapted normal."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Annotated, Any

import numpy as np

from offlinekit.core.algo import Algo
from offlinekit.errors import require
from offlinekit.fields import Count, Positive
from offlinekit.metrics.reporting.lineage import Lineage
from offlinekit.nn.random import derive
from offlinekit.sweeps.evolution.breeding import Breeding, Offspring
from offlinekit.sweeps.evolution.scheduler import Scheduler
from offlinekit.sweeps.evolution.value_moves import Value, at
from offlinekit.sweeps.space import Range
from offlinekit.types import Array

FEWEST = 4


class CMAES(Scheduler):
    """Covariance matrix adaptation: a generation is a set of whole runs, from new networks on (extra `cma`).

    Ranges are searched in the coordinate in which they are uniform, so that logarithmic ones are searched in the
    logarithm. For offline data, where a run is short and its fitness does not depend on the weather of earlier
    generations. Source: Hansen 2016, arXiv:1604.00772, by the package `cma`.
    """

    deviation: Annotated[Positive, "Of the first generation, in ranges that are 1 wide."] = 0.3
    average: Annotated[
        Count, "Fitnesses of a line, the last ones, whose mean ranks it; a line here is one run."
    ] = 1

    def check(self, algo: Algo) -> None:
        """Checks that the search is over ranges."""
        super().check(algo)
        if not self.search:
            raise ValueError(
                'CMAES needs a search, such as {"learning_rate": Range(1e-4, 1e-2, log=True)}, on the command line '
                '--search \'learning_rate={"low": 1e-4, "high": 1e-2, "log": true}\''
            )
        for name, space in self.search.items():
            if not isinstance(space, Range):
                raise ValueError(f"CMAES searches numbers, but {name} has a list; give a Range, or set it")

    def begin(self, breeding: Breeding) -> list[Offspring]:
        """Returns new networks with the first settings.

        Raises:
            ValueError: For fewer than 4 members.
        """
        if len(breeding.members) < FEWEST:
            raise ValueError(f"CMAES needs at least {FEWEST} members, got {len(breeding.members)}")
        return self.next_generation(breeding)

    def next_generation(self, breeding: Breeding) -> list[Offspring]:
        """Returns new networks with settings that follow from the fitness of all generations before."""
        n = len(breeding.members)
        strategy = self._strategy(n)
        for generation in range(1, breeding.lineage.last + 1):
            strategy.tell(strategy.ask(), _costs(breeding.lineage, generation))
        return [Offspring(None, self._values(place)) for place in strategy.ask()]

    def _strategy(self, n: int) -> Any:
        """Makes the strategy anew; asked and answered as before it comes to the same state."""
        cma: ModuleType = require("cma", "cma")
        rng = np.random.default_rng(derive(self.seed, "cma"))
        options = {
            "popsize": n,
            "bounds": [0.0, 1.0],
            "seed": math.nan,  # Its own would reseed the process.
            "randn": lambda *shape: rng.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
        }
        return cma.CMAEvolutionStrategy([0.5] * max(len(self.search), 2), self.deviation, options)

    def _values(self, place: Array) -> dict[str, Value]:
        """Returns the settings at a point; it has a spare coordinate if there is one setting alone."""
        ranges = {name: space for name, space in self.search.items() if isinstance(space, Range)}
        return {n: at(s, float(x)) for (n, s), x in zip(ranges.items(), place, strict=False)}


def _costs(lineage: Lineage, generation: int) -> list[float]:
    """Returns what CMA-ES minimises for each member; who was held back costs more than all others."""
    rows = lineage.generation(generation)
    sound = [-row.fitness for row in rows if not row.held_back and math.isfinite(row.fitness)]
    worst = max(sound, default=0.0) + 1.0 + (max(sound, default=0.0) - min(sound, default=0.0))
    return [worst if row.held_back or not math.isfinite(row.fitness) else -row.fitness for row in rows]

"""Schedulers: what decides, generation by generation, who goes on, with which settings and networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from typing_extensions import Unpack

from offlinekit.configured import Configured
from offlinekit.core.algo import Algo
from offlinekit.core.populations import Population
from offlinekit.core.populations.population import MOST_MEMBERS
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.fields import Check, Count, Steps
from offlinekit.nn.random import derive
from offlinekit.sweeps.evolution.breeding import Breeding, Offspring
from offlinekit.sweeps.evolution.evolution_settings import EvolutionSettings
from offlinekit.sweeps.evolution.generations import Evolved, Generation, Generations
from offlinekit.sweeps.evolution.members import check_search
from offlinekit.sweeps.evolution.value_moves import Choices, drawn
from offlinekit.sweeps.space import Range, parse
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.setup.keywords import takes
from offlinekit.training.setup.settings import completed


def _parsed(given: object) -> object:
    return parse(given) if isinstance(given, Mapping) else given


def _check_space(given: object) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(
            'search must name ranges or lists, such as {"learning_rate": Range(1e-4, 1e-2, log=True)}, got '
            f"{given!r}"
        )


SearchSpace = Annotated[
    Mapping[str, Choices], Check(_check_space, "names to ranges or lists", convert=_parsed)
]


class Scheduler(Configured):
    """Base of all schedulers: a search space, a seed, and `next_generation`."""

    search: Annotated[SearchSpace, "Hyperparameters that may change, each to a Range or a list."] = (
        dataclasses.field(default_factory=dict)
    )
    seed: Annotated[Steps, "Of all that is drawn; it and the members' seeds reproduce the run."] = 0
    average: Annotated[Count, "Fitnesses of a line, the last ones, whose mean ranks it."] = 3

    field_word: ClassVar[str] = "setting"

    def population(self, algo: Algo, size: int = 4) -> Population:
        """Makes a population: the algorithm as it is, and others with seeds that follow and numbers drawn at random.

        Whole numbers and choices stay as they are, so that all members begin as one stack.

        Args:
            algo: Without networks.
            size: Number of members.

        Raises:
            ValueError: For a number that is none, or for more than 10,000.
        """
        if not 1 <= size <= MOST_MEMBERS:
            raise ValueError(f"a population has 1 to {MOST_MEMBERS:,} members, got {size}")
        members = list(Population.of_seeds(algo, size).algos)
        rng = np.random.default_rng(derive(self.seed, "settings"))
        for member in members[1:]:
            for name, space in self.search.items():
                if isinstance(space, Range) and not space.integer:
                    setattr(member, name, drawn(space, rng))
        return Population(members)

    @takes(EvolutionSettings)
    def fit(
        self,
        population: Population | Sequence[Algo],
        dataset: MDPDataset,
        **settings: Unpack[EvolutionSettings],
    ) -> Evolved:
        """Trains generations, and returns the winner with what a second judge says of it.

        Args:
            population: Members to begin with, of any settings within the search space.
            dataset: To learn from, and to judge by unless `fitness` needs none of it.
            settings: Further keywords, those of `EvolutionSettings`.

        Raises:
            ValueError: For a setting out of its space, or one that cannot change between two generations.
            UnsupportedError: For networks that cannot change, if they are to.
            TrainingError: If all members of a generation have diverged.
            KeyboardInterrupt: At Ctrl-C; the generations before are saved. Preempted if `preemptible` is set.
        """
        with whole_runs():
            *_, last = self.fitter(population, dataset, **settings)
        return last.evolved

    @takes(EvolutionSettings)
    def fitter(
        self,
        population: Population | Sequence[Algo],
        dataset: MDPDataset,
        **settings: Unpack[EvolutionSettings],
    ) -> Iterator[Generation]:
        """The run of `fit` as a generator, with the same keywords.

        Yields:
            Each generation when it is judged and saved; the last one's `evolved` has the winner.
        """
        yield from Generations(
            self, population, dataset, completed(settings, EvolutionSettings, "fit")
        ).steps()

    def check(self, algo: Algo) -> None:
        """Checks that an algorithm with networks can be scheduled.

        Raises:
            ValueError: For a hyperparameter that cannot change.
            UnsupportedError: For networks that cannot.
        """
        check_search(algo, self.search)
        falling = [each.name for each in algo.impl.objectives if not each.has_constant_rate]
        if falling:
            raise ValueError(
                f"learning rates of {type(algo).__name__} must be constant, since a schedule would end with each "
                f"generation; that of {falling[0]} is not: use lr_schedule='constant' and no warm-up"
            )

    def describe(self) -> dict[str, Any]:
        """Returns name and settings as plain data."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        values["search"] = {
            n: v.to_json() if isinstance(v, Range) else list(v) for n, v in self.search.items()
        }
        return {"name": type(self).__name__, **values}

    def begin(self, breeding: Breeding) -> list[Offspring]:
        """Returns who takes each place of the first generation: the members as they are given."""
        return [Offspring(place) for place in range(len(breeding.members))]

    def next_generation(self, breeding: Breeding) -> list[Offspring]:
        """Returns who takes each place of the next generation."""
        raise UnsupportedError(f"{type(self).__name__} must define next_generation()")

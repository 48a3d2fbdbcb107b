"""Population-based training: the worst take up the best's networks and explore settings from there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from offlinekit.errors import UnsupportedError
from offlinekit.fields import Check, Fraction, NonNegative, Positive, Probability
from offlinekit.ground.shares import share_of
from offlinekit.metrics.reporting.lineage import Lineage
from offlinekit.sweeps.evolution.breeding import Breeding, Offspring
from offlinekit.sweeps.evolution.gaussian_process import Observed, most_promising
from offlinekit.sweeps.evolution.scheduler import Scheduler
from offlinekit.sweeps.evolution.value_moves import Value, at, drawn, moved, unit
from offlinekit.sweeps.space import Range

QUARTER = 4


class PBT(Scheduler):
    """Population-based training: the worst quarter copies members of the best, then moves or redraws each setting.

    Source: Jaderberg et al. 2017, arXiv:1711.09846; moves are symmetric in the logarithm.
    """

    quantile: Annotated[Fraction, "Share of members that is replaced, and that replaces; at most 0.5."] = 0.25
    resample: Annotated[Probability, "Of a setting that is drawn anew instead of moved."] = 0.25
    factor: Annotated[Positive, "By which a move multiplies or divides, above 1."] = 1.2

    def check_together(self) -> None:
        """Checks that the best and the worst are apart, and that moves move."""
        if self.quantile > 0.5:
            raise ValueError(
                f"quantile must be at most 0.5, since both ends have so many, got {self.quantile}"
            )
        if self.factor <= 1:
            raise ValueError(f"factor must be above 1, got {self.factor}")

    def next_generation(self, breeding: Breeding) -> list[Offspring]:
        """Returns who stays, and the explored copies of the best in the places of the worst."""
        ranking = breeding.lineage.ranking(self.average)
        rng, offspring = breeding.rng("exploit"), [Offspring(place) for place in range(len(ranking))]
        n = max(1, round(share_of(self.quantile, len(ranking)))) if len(ranking) > 1 else 0
        for place in ranking[len(ranking) - n :]:
            parent = ranking[int(rng.integers(n))]
            offspring[place] = Offspring(parent, self.explore(breeding, parent, rng, offspring))
        return offspring

    def explore(
        self, breeding: Breeding, parent: int, rng: np.random.Generator, chosen: Sequence[Offspring]
    ) -> dict[str, Value]:
        """Returns the settings of a copy of a parent.

        Args:
            breeding: What is known.
            parent: Number of the member.
            rng: Of the draws.
            chosen: The next generation as far as it is decided.
        """
        return {
            name: drawn(space, rng)
            if rng.random() < self.resample
            else moved(space, getattr(breeding.members[parent], name), rng, self.factor)
            for name, space in self.search.items()
        }


class PB2(PBT):
    """PBT whose numbers maximise an upper bound of the next improvement, by a Gaussian process over all seen so far.

    Choices of lists move as in PBT. Source: Parker-Holder et al. 2020, arXiv:2002.02518.
    """

    kappa: Annotated[NonNegative, "Standard deviations of the bound above the mean."] = 2.0
    length: Annotated[Positive, "Length scale of settings, whose ranges are 1 wide."] = 0.3
    forgetting: Annotated[Probability, "Share of what is known that a generation makes stale."] = 0.1

    def explore(
        self, breeding: Breeding, parent: int, rng: np.random.Generator, chosen: Sequence[Offspring]
    ) -> dict[str, Value]:
        """Returns the most promising numbers; a second copy of one generation counts the first as seen."""
        values = super().explore(breeding, parent, rng, chosen)
        ranges = {name: space for name, space in self.search.items() if isinstance(space, Range)}
        seen = _improvements(breeding.lineage, ranges)
        if not ranges or not len(seen.gains):
            return values
        taken = [[unit(s, _number(o.values[n])) for n, s in ranges.items()] for o in chosen if o.values]
        place = most_promising(
            seen,
            np.array(taken, np.float64).reshape(len(taken), len(ranges)),
            breeding.lineage.last + 1,
            rng,
            kappa=self.kappa,
            length=self.length,
            forgetting=self.forgetting,
        )
        return {**values, **{n: at(s, float(x)) for (n, s), x in zip(ranges.items(), place, strict=True)}}


def _as_tuple(given: object) -> object:
    return tuple(given) if isinstance(given, list) else given


def _check_frequencies(given: object) -> None:
    if not isinstance(given, tuple) or not given or any(not isinstance(n, int) or n < 1 for n in given):
        raise ValueError(f"frequencies must be whole numbers of generations, such as (1, 5), got {given!r}")


class MultiFrequencyPBT(PBT):
    """PBT in groups that evolve at their own frequency, so that greedy short-term settings do not take over.

    In each group that is due the best quarter stays, the worst copies and explores it, and the next worst gives way to
    a better migrant: from a slower group with its settings, from a faster one its networks alone. Source: MF-PBT as in
    AgileRL 2.58, hpo/multi_frequency.py.
    """

    frequencies: Annotated[
        tuple[int, ...],
        Check(
            _check_frequencies,
            "whole numbers of generations",
            convert=_as_tuple,
        ),
        "Generations between two selections of each group, of equally many members.",
    ] = (1, 5)

    def next_generation(self, breeding: Breeding) -> list[Offspring]:
        """Returns the offspring of the groups that are due; members of the others stay."""
        lineage, rng = breeding.lineage, breeding.rng("exploit")
        groups, ranking = self._groups(len(breeding.members)), lineage.ranking(self.average)
        offspring = [Offspring(place) for place in range(len(breeding.members))]
        for frequency, group in zip(self.frequencies, groups, strict=True):
            if lineage.last % frequency:
                continue
            ranked = [member for member in ranking if member in group]
            n = len(ranked) // QUARTER
            for place in ranked[len(ranked) - n :]:
                parent = ranked[int(rng.integers(n))]
                offspring[place] = Offspring(parent, self.explore(breeding, parent, rng, offspring))
            for place in ranked[len(ranked) - 2 * n : len(ranked) - n]:
                offspring[place] = self._migrant(lineage, place, frequency, groups, ranking, rng)
        return offspring

    def _migrant(
        self,
        lineage: Lineage,
        place: int,
        frequency: int,
        groups: Sequence[Sequence[int]],
        ranking: Sequence[int],
        rng: np.random.Generator,
    ) -> Offspring:
        """Returns the best member of another group if it is better than who has the place."""
        others = [(f, group) for f, group in zip(self.frequencies, groups, strict=True) if place not in group]
        if not others:
            return Offspring(place)
        other, group = others[int(rng.integers(len(others)))]
        best = next(member for member in ranking if member in group)
        if ranking.index(best) > ranking.index(place):
            return Offspring(place)
        return Offspring(best, keeps_values=other < frequency)

    def _groups(self, n: int) -> list[list[int]]:
        """Returns the members of each group.

        Raises:
            UnsupportedError: If groups would have fewer than 4 members, or unequally many.
        """
        n_groups = len(self.frequencies)
        if n % n_groups or n // n_groups < QUARTER:
            raise UnsupportedError(
                f"frequencies={self.frequencies} make {n_groups} groups of equally many members, at least {QUARTER} "
                f"each; {n} members do not divide so: take {n_groups * max(QUARTER, math.ceil(n / n_groups))}"
            )
        size = n // n_groups
        return [list(range(start, start + size)) for start in range(0, n, size)]

    def begin(self, breeding: Breeding) -> list[Offspring]:
        """Returns the members as they are given, if they divide into groups."""
        self._groups(len(breeding.members))
        return super().begin(breeding)


def _improvements(lineage: Lineage, ranges: dict[str, Range]) -> Observed:
    """Returns by how much each member improved on its parent, with the settings it trained with."""
    by_place = {(row.generation, row.member): row for row in lineage.rows}
    places, times, gains = [], [], []
    for row in lineage.rows:
        parent = None if row.parent is None else by_place.get((row.generation - 1, row.parent))
        gain = math.nan if parent is None else row.fitness - parent.fitness
        if math.isfinite(gain):
            places.append([unit(space, _number(row.values[name])) for name, space in ranges.items()])
            times.append(row.generation)
            gains.append(gain)
    shape = (len(gains), len(ranges))
    return Observed(np.array(places, np.float64).reshape(shape), np.array(times), np.array(gains))


def _number(value: Value) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a range holds numbers, got {value!r}")
    return float(value)

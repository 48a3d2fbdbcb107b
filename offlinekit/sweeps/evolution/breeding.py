"""From one generation to the next: what schedulers look at and return, and how places are filled."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.metrics.reporting.lineage import Lineage
from offlinekit.nn.random import derive
from offlinekit.sampling.batch import TensorTree
from offlinekit.sweeps.evolution.members import inherited, renewed, set_values
from offlinekit.sweeps.evolution.mutations import with_values
from offlinekit.sweeps.evolution.network_moves import probe_rows
from offlinekit.sweeps.evolution.value_moves import Value

Change: TypeAlias = "Callable[[Algo], tuple[Algo, str]]"
"""Takes an algorithm that may be changed; returns it, or another one, and what was done in words."""


@dataclass(frozen=True)
class Offspring:
    """Who takes a place in the next generation.

    Attributes:
        parent: Number of the member whose state it has; None for networks that have learned nothing.
        values: Hyperparameters that are set.
        change: What else happens to it, or None.
        keeps_values: Whether the place keeps its hyperparameters, and takes up the parent's networks alone.
    """

    parent: int | None
    values: Mapping[str, Value] | None = None
    change: Change | None = None
    keeps_values: bool = False


@dataclass(frozen=True)
class Breeding:
    """What a scheduler has at hand between two generations.

    Attributes:
        lineage: All generations so far.
        members: Of the last one.
        dataset: What they learn from.
        seed: Of the next generation; everything that is drawn follows from it.
    """

    lineage: Lineage
    members: Sequence[Algo]
    dataset: MDPDataset
    seed: int

    def rng(self, stream: str) -> np.random.Generator:
        """Returns a generator of an independent stream."""
        return np.random.default_rng(derive(self.seed, stream))

    def rows(self, algo: Algo) -> TensorTree:
        """Returns observations on which outputs of networks are compared."""
        return probe_rows(algo, self.dataset, derive(self.seed, "rows"))


def bred(
    members: Sequence[Algo], offspring: Sequence[Offspring], names: Sequence[str]
) -> list[tuple[Algo, str]]:
    """Returns the members of the next generation with what was done to each.

    A member that stays in its place unchanged is the same object, so that its state is untouched.

    Args:
        members: Of the generation before; those whose place is taken are changed.
        offspring: Who takes each place.
        names: Of the hyperparameters that are searched.
    """
    moving = {o.parent for place, o in enumerate(offspring) if o.parent not in (None, place)}
    leaving = {place for place, o in enumerate(offspring) if o.parent != place or o.values or o.change}
    parents = {n: copy.copy(members[n]) if n in leaving else members[n] for n in moving if n is not None}
    return [_placed(members[place], place, o, parents, names) for place, o in enumerate(offspring)]


def _placed(
    member: Algo, place: int, offspring: Offspring, parents: Mapping[int, Algo], names: Sequence[str]
) -> tuple[Algo, str]:
    own, done = {name: getattr(member, name) for name in names}, ""
    if offspring.parent is None:
        return renewed(member, offspring.values or {}), "begun anew"
    if offspring.parent != place:
        member = inherited(member, parents[offspring.parent])
        if offspring.keeps_values:
            set_values(member, own)
    if offspring.values:
        member, done = with_values(member, offspring.values)
    if offspring.change is not None:
        member, said = offspring.change(member)
        done = ", ".join(part for part in (done, said) if part)
    return member, done

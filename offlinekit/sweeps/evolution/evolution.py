"""Evolution: tournaments, an untouched elite, and mutations that keep what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np

from offlinekit.core.algo import Algo
from offlinekit.fields import Count, Fraction, NonNegative, Positive, Probability
from offlinekit.sweeps.evolution import mutations
from offlinekit.sweeps.evolution.breeding import Breeding, Change, Offspring
from offlinekit.sweeps.evolution.network_moves import Sizes, check_movable
from offlinekit.sweeps.evolution.scheduler import Scheduler
from offlinekit.sweeps.evolution.value_moves import Value, moved, truncated
from offlinekit.sweeps.space import Range

KINDS = ("no_mutation", "architecture", "parameters", "activation", "hyperparameter")


class Evolution(Scheduler):
    """Tournaments choose parents, the best member stays as it is, and the others mutate.

    The flags from `mutate_elite` on give the semantics of AgileRL one by one; `Evolution.agilerl()` sets them all.
    Source of the semantics: AgileRL 2.58, hpo/tournament.py and hpo/mutation.py.
    """

    tournament_size: Annotated[Count, "Members drawn for each place, of which the best is the parent."] = 2
    elitism: Annotated[bool, "Whether the best member keeps its place."] = True
    no_mutation: Annotated[NonNegative, "Weight of no mutation at all."] = 0.4
    architecture: Annotated[NonNegative, "Weight of wider, deeper or narrower networks."] = 0.2
    parameters: Annotated[NonNegative, "Weight of noise on the policy's weights."] = 0.2
    activation: Annotated[NonNegative, "Weight of another activation, which changes outputs."] = 0.0
    hyperparameter: Annotated[NonNegative, "Weight of a move of one searched hyperparameter."] = 0.2
    factor: Annotated[Positive, "By which a move multiplies or divides, above 1."] = 1.2
    noise: Annotated[NonNegative, "Deviation of noise, as a share of each weight."] = 0.1
    new_layer: Annotated[Probability, "Of a new layer in an architecture move, where one fits."] = 0.2
    min_layers: Annotated[Count, "Fewest hidden layers."] = 1
    max_layers: Annotated[Count, "Most hidden layers."] = 3
    min_units: Annotated[Count, "Fewest units of a hidden layer."] = 16
    max_units: Annotated[Count, "Most units of a hidden layer."] = 512
    tolerance: Annotated[Fraction, "Largest change of an output by an architecture move, in deviations."] = (
        0.1
    )
    mutate_elite: Annotated[bool, "Whether the best member mutates as well."] = False
    mutate_first: Annotated[bool, "Whether members mutate before the first generation."] = False
    keep_function: Annotated[bool, "Whether architecture moves keep outputs and optimizers' moments."] = True
    keep_moments: Annotated[bool, "Whether noise and learning rates keep optimizers' moments."] = True
    symmetric: Annotated[
        bool, "Whether hyperparameters move evenly in the logarithm, else by 0.8 or 1.2."
    ] = True
    severe_noise: Annotated[
        bool,
        "Whether noise also draws some weights anew, shakes as many by 10 times their size and syncs targets.",
    ] = False

    def check_together(self) -> None:
        """Checks ranges that depend on one another."""
        if sum(getattr(self, kind) for kind in KINDS) <= 0:
            raise ValueError(f"one of the weights {', '.join(KINDS)} must be above 0")
        if self.factor <= 1:
            raise ValueError(f"factor must be above 1, got {self.factor}")
        for what in ("layers", "units"):
            low, high = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if low > high:
                raise ValueError(f"min_{what} must be at most max_{what}, got {low} and {high}")

    @classmethod
    def agilerl(cls, **settings: Any) -> Evolution:
        """Makes an evolution that ranks and mutates as AgileRL does, for comparison; settings win."""
        flags: dict[str, Any] = {
            "average": 1,
            "mutate_elite": True,
            "mutate_first": True,
            "keep_function": False,
            "keep_moments": False,
            "symmetric": False,
            "severe_noise": True,
            "min_units": 32,
            "max_units": 500,
        }
        return cls(**{**flags, **settings})

    def check(self, algo: Algo) -> None:
        """Checks that hyperparameters and networks can move."""
        super().check(algo)
        if self.hyperparameter > 0 and not self.search:
            raise ValueError(
                f"hyperparameter={self.hyperparameter} needs something to move: give search="
                '{"learning_rate": Range(1e-4, 1e-2, log=True)}, or hyperparameter=0; on the command line --search '
                '\'learning_rate={"low": 1e-4, "high": 1e-2, "log": true}\', or --setting hyperparameter=0'
            )
        if self.architecture > 0 and self.keep_function:
            check_movable(algo, self._sizes)

    def begin(self, breeding: Breeding) -> list[Offspring]:
        """Returns the given members, mutated if `mutate_first` is set."""
        if not self.mutate_first:
            return super().begin(breeding)
        changes = self._changes(breeding, [kind for kind in KINDS if kind != "no_mutation"])
        return [Offspring(place, change=changes[place]) for place in range(len(breeding.members))]

    def next_generation(self, breeding: Breeding) -> list[Offspring]:
        """Returns the elite in its place, and winners of tournaments with a mutation each in the others."""
        ranking, rng = breeding.lineage.ranking(self.average), breeding.rng("tournaments")
        rank = {member: place for place, member in enumerate(ranking)}
        changes, elite = self._changes(breeding, KINDS), ranking[0]
        offspring = []
        for place in range(len(ranking)):
            drawn = rng.integers(len(ranking), size=self.tournament_size)
            parent = min((int(member) for member in drawn), key=rank.__getitem__)
            is_elite = self.elitism and place == elite
            change = None if is_elite and not self.mutate_elite else changes[place]
            offspring.append(Offspring(elite if is_elite else parent, change=change))
        return offspring

    def _changes(self, breeding: Breeding, kinds: Sequence[str]) -> list[Change | None]:
        """Draws the mutation of each place; None for none."""
        weights = np.array([getattr(self, kind) for kind in kinds], np.float64)
        agreed: dict[tuple[str, Value, bool], Value] = {}
        changes: list[Change | None] = []
        for place in range(len(breeding.members)):
            rng = breeding.rng(f"mutation {place}")
            kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))] if weights.sum() > 0 else ""
            change: Change | None = None
            if kind == "architecture":
                change = partial(self._architecture, breeding, rng)
            elif kind == "parameters":
                change = partial(self._noise, rng)
            elif kind == "activation":
                change = partial(mutations.with_activation, rng=rng)
            elif kind == "hyperparameter":
                change = partial(self._value, rng, agreed)
            changes.append(change)
        return changes

    def _architecture(self, breeding: Breeding, rng: np.random.Generator, algo: Algo) -> tuple[Algo, str]:
        rows = breeding.rows(algo)
        return mutations.with_architecture(
            algo, self._sizes, rng, rows, self.tolerance, self.keep_function, self.new_layer
        )

    @property
    def _sizes(self) -> Sizes:
        return Sizes((self.min_layers, self.max_layers), (self.min_units, self.max_units))

    def _noise(self, rng: np.random.Generator, algo: Algo) -> tuple[Algo, str]:
        algo, done = mutations.with_noise(algo, rng, self.noise, self.severe_noise)
        if not self.keep_moments:
            mutations.forget_moments(algo)
        return algo, done

    def _value(
        self, rng: np.random.Generator, agreed: dict[tuple[str, Value, bool], Value], algo: Algo
    ) -> tuple[Algo, str]:
        """Moves one hyperparameter; whole numbers and choices, which part stacks, move the same way for all members."""
        name = list(self.search)[int(rng.integers(len(self.search)))]
        space, value = self.search[name], getattr(algo, name)
        if not self.symmetric and isinstance(space, Range):
            new: Value = truncated(space, value, rng, type(value))
        elif isinstance(value, float):
            new = moved(space, value, rng, self.factor)
        else:
            key = (name, value, isinstance(value, bool))
            new = agreed.setdefault(key, moved(space, value, rng, self.factor))
        if "learning_rate" in name and not self.keep_moments:
            mutations.forget_moments(algo)
        return mutations.with_values(algo, {name: new})

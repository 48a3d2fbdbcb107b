"""By what members are ranked: held-out episodes, an environment, or an evaluator; and what the winner is worth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, cast, runtime_checkable

import numpy as np

from offlinekit.configured import Configured
from offlinekit.core.algo import Algo
from offlinekit.datasets import MDPDataset
from offlinekit.directions import is_maximized
from offlinekit.envs.evaluation import evaluate
from offlinekit.errors import UnsupportedError
from offlinekit.fields import Count, Fraction, Positive, Probability
from offlinekit.ground.progress import Progress
from offlinekit.interfaces import EnvSource, Evaluator
from offlinekit.metrics.evaluators import FQE_NAME, get_evaluator, known_evaluators
from offlinekit.nn.encoders import Encoder, encoder_to_json
from offlinekit.nn.random import derive
from offlinekit.training.setup.start import check_fits
from offlinekit.training.undisturbed import undisturbed
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.algos.fqe import FQE


@dataclass(frozen=True)
class Verdict:
    """What a member is worth in one generation.

    Attributes:
        fitness: Higher is better.
        value: What was estimated or measured, of which fitness may be a lower bound.
        spread: Standard error of that value; NaN if unknown.
        held_back: Why it ranks behind all others, whatever its fitness; empty if nothing speaks against it.
    """

    fitness: float
    value: float = math.nan
    spread: float = math.nan
    held_back: str = ""


@dataclass(frozen=True)
class Reported:
    """What the winner is worth by a judge that chose nothing.

    Attributes:
        value: Estimated or measured.
        low, high: Ends of its 95% interval; NaN if there is none.
        source: Of the value, in words.
    """

    value: float
    low: float
    high: float
    source: str


@runtime_checkable
class Fitness(Protocol):
    """What ranks members, and reports on the winner by data or episodes that ranked nobody."""

    def prepare(self, dataset: MDPDataset, seed: int) -> MDPDataset:
        """Takes episodes for itself if it needs them, and returns what members learn from."""

    def judge(self, members: Sequence[Algo], generation: int) -> list[Verdict]:
        """Returns the verdict on each member, all by the same judge."""

    def report(self, winner: Algo) -> Reported:
        """Returns what the winner is worth, by a second judge."""

    def describe(self) -> dict[str, object]:
        """Returns what config.json says of it."""


class OfflineFitness(Configured):
    """The lower bound of fitted Q evaluation on held-out episodes.

    Each generation one judge is fitted anew, with one seed, one architecture and the same bootstraps of episodes for
    all members. A member whose values disagree with themselves or that leaves the data is held back.
    """

    held_out: Annotated[Fraction, "Share of the episodes that nobody learns from; half of them choose."] = 0.3
    confidence: Annotated[Fraction, "Of the lower bound, one-sided (Student t over the bootstraps)."] = 0.9
    n_resamples: Annotated[Count, "Bootstraps of the episodes behind each bound, at least 2."] = 4
    n_steps: Annotated[Count | None, "Updates of each fit; None for as many as values need."] = None
    max_td_error: Annotated[Positive, "Largest TD error, as a multiple of the median member's."] = 10.0
    max_distance: Annotated[
        Positive, "Largest mean distance of its actions from the data, in deviations."
    ] = 1.0
    gamma: Annotated[
        Probability | None, "Discount of the estimate; None takes that of the first member given."
    ] = None
    fit_settings: Annotated[
        Mapping[str, object], "Hyperparameters of `FQE` in each fit, such as encoder and batch_size."
    ] = dataclasses.field(default_factory=dict)

    def check_together(self) -> None:
        """Checks that a spread can be computed."""
        if self.n_resamples < 2:
            raise ValueError(f"n_resamples must be at least 2 for a lower bound, got {self.n_resamples}")

    def prepare(self, dataset: MDPDataset, seed: int) -> MDPDataset:
        """Splits the episodes into those to learn from, those of the judge and those of the second judge."""
        learned, held = dataset.split(1 - self.held_out, seed=derive(seed, "held out") % 2**31)
        self._judging, self._reporting = held.split(0.5, seed=derive(seed, "second judge") % 2**31)
        self._seed, self._first_gamma = seed, self.gamma
        return learned

    def keep_discount(self, gamma: float | None) -> None:
        """Sets the discount of all judges to come, unless `gamma` does: it stays if that of members is searched."""
        self._first_gamma = gamma

    def judge(self, members: Sequence[Algo], generation: int) -> list[Verdict]:
        """Returns the lower bound of each member, and who is held back."""
        from scipy import stats  # Here: its import takes a second.

        held_back = self._guards(members)
        reach = float(stats.t.ppf(self.confidence, self.n_resamples - 1))
        seed = derive(self._seed, f"judge {generation}") % 2**31
        verdicts = []
        for fits, why in zip(
            self._fits(members, self._judging, seed, self.n_resamples), held_back, strict=True
        ):
            values = _values(fits, self._judging)
            value, spread = float(values[0]), float(values[1:].std(ddof=1))
            why = why or self._impossible(values, fits)
            verdicts.append(Verdict(value - reach * spread, value, spread, why))
        return verdicts

    def report(self, winner: Algo) -> Reported:
        """Returns the estimate on episodes that no member was ranked by, with its interval."""
        from scipy import stats

        n = max(self.n_resamples, 8)
        (fits,) = self._fits([winner], self._reporting, derive(self._seed, "report") % 2**31, n)
        values = _values(fits, self._reporting)
        half = float(stats.t.ppf(0.975, n - 1) * values[1:].std(ddof=1))
        value = float(values[0])
        count = self._reporting.n_episodes
        return Reported(
            value, value - half, value + half, f"fitted Q evaluation on {count} episodes that chose nothing"
        )

    def describe(self) -> dict[str, object]:
        """Returns the settings."""
        settings = {name: getattr(self, name) for name in _field_names(self)}
        fits = {
            n: encoder_to_json(cast("Encoder", v)) if n == "encoder" else v
            for n, v in self.fit_settings.items()
        }
        return {"kind": FQE_NAME, **settings, "fit_settings": fits}

    def _fits(self, members: Sequence[Algo], data: MDPDataset, seed: int, n: int) -> list[list[FQE]]:
        from offlinekit.metrics.ope.fitted_policies import fits  # Here: scipy.stats takes a second.

        named = {str(number): member for number, member in enumerate(members)}
        if self._first_gamma is None:
            self.keep_discount(members[0].gamma)
        gamma = self._first_gamma if self.gamma is None else self.gamma
        settings: dict[str, Any] = {"gamma": gamma, **self.fit_settings}
        fitted = fits(named, data, n_steps=self.n_steps, n_resamples=n, seed=seed, **settings)
        return list(fitted.values())

    def _guards(self, members: Sequence[Algo]) -> list[str]:
        """Returns why each member is held back, empty if nothing speaks against it."""
        distance = get_evaluator("out_of_distribution_distance")
        far = [float(cast("float", distance(member, self._judging))) for member in members]
        errors = [_td_error(member, self._judging) for member in members]
        known = [error for error in errors if math.isfinite(error)]
        limit = self.max_td_error * float(np.median(known)) if known else math.inf
        return [self._reason(*pair, limit) for pair in zip(far, errors, strict=True)]

    def _reason(self, distance: float, error: float, limit: float) -> str:
        if error > limit or math.isinf(error):
            return f"TD error {error:.3g} is more than {self.max_td_error:g} times the median member's"
        if not distance <= self.max_distance:
            return f"actions are {distance:.2g} deviations from the data, more than {self.max_distance:g}"
        return ""

    def _impossible(self, values: Array, fits: Sequence[FQE]) -> str:
        from offlinekit.metrics.ope.fit_checks import impossible

        return impossible(values, fits[0], self._judging)


class EnvironmentFitness(Configured):
    """The mean return of episodes in an environment; the winner plays episodes whose seeds nobody was ranked by."""

    env: Annotated[object, "Environment, function that makes one, or its name."] = None
    n_episodes: Annotated[Count, "Episodes of each member in each generation."] = 10
    n_reported: Annotated[Count, "Episodes of the winner in the end."] = 50

    def prepare(self, dataset: MDPDataset, seed: int) -> MDPDataset:
        """Takes no episodes."""
        if self.env is None:
            raise ValueError('EnvironmentFitness needs an environment; give env="CartPole-v1", or an object')
        self._seed = seed
        return dataset

    def judge(self, members: Sequence[Algo], generation: int) -> list[Verdict]:
        """Plays the same episodes with each member."""
        seed = derive(self._seed, f"episodes {generation}") % 2**30
        verdicts = []
        with Progress("episodes", len(members), unit="member") as bar:
            for member in members:
                with bar.span(1):
                    verdicts.append(self._verdict(self._returns(member, self.n_episodes, seed)))
        return verdicts

    def report(self, winner: Algo) -> Reported:
        """Plays episodes from fresh seeds."""
        from scipy import stats

        returns = self._returns(winner, self.n_reported, 2**30 + derive(self._seed, "report") % 2**30)
        value, error = _mean(returns)
        half = float(stats.t.ppf(0.975, len(returns) - 1)) * error
        return Reported(
            value, value - half, value + half, f"{len(returns)} episodes of seeds that chose nothing"
        )

    def describe(self) -> dict[str, object]:
        """Returns the settings."""
        named = self.env if isinstance(self.env, str) else "given"
        return {"kind": "return", "env": named, "n_episodes": self.n_episodes, "n_reported": self.n_reported}

    def _returns(self, member: Algo, n_episodes: int, seed: int) -> Sequence[float]:
        found = evaluate(member, cast("EnvSource", self.env), n_episodes, seed=seed)
        return [float(value) for value in found.returns]

    def _verdict(self, returns: Sequence[float]) -> Verdict:
        value, error = _mean(returns)
        return Verdict(value, value, error)


class EvaluatorFitness(Configured):
    """An evaluator on held-out episodes, its sign turned if less of it is better."""

    evaluator: Annotated[object, "Name of an evaluator, or a function (algo, dataset) -> float."] = "td_error"
    held_out: Annotated[Fraction, "Share of the episodes that nobody learns from; half of them choose."] = 0.3
    maximize: Annotated[bool | None, "Whether more is better; None goes by the evaluator."] = None

    def prepare(self, dataset: MDPDataset, seed: int) -> MDPDataset:
        """Splits the episodes, and finds the evaluator."""
        learned, held = dataset.split(1 - self.held_out, seed=derive(seed, "held out") % 2**31)
        self._judging, self._reporting = held.split(0.5, seed=derive(seed, "second judge") % 2**31)
        name, given = self._name, self.evaluator
        self._measure = get_evaluator(name) if isinstance(given, str) else cast("Evaluator", given)
        known = {name: self._measure}
        more = is_maximized(name, self.maximize, known, known_evaluators(), self._remedy)
        self._sign = 1 if more else -1
        return learned

    def judge(self, members: Sequence[Algo], generation: int) -> list[Verdict]:
        """Measures each member on the same episodes."""
        values = [self._value(member, self._judging) for member in members]
        return [Verdict(self._sign * value, value) for value in values]

    def try_on(self, member: Algo) -> None:
        """Measures a member on the best episode alone, to see whether it can be."""
        self._value(member, self._judging[int(self._judging.episode_returns().argmax())])

    def report(self, winner: Algo) -> Reported:
        """Measures the winner on episodes that no member was ranked by."""
        count, value = self._reporting.n_episodes, self._value(winner, self._reporting)
        return Reported(value, math.nan, math.nan, f"{self._name} on {count} episodes that chose nothing")

    def describe(self) -> dict[str, object]:
        """Returns the settings."""
        named = self.evaluator if isinstance(self.evaluator, str) else "given"
        return {
            "kind": "evaluator",
            "evaluator": named,
            "name": self._name,
            "held_out": self.held_out,
            "maximize": self.maximize,
        }

    @property
    def _remedy(self) -> str:
        """How to say whether more is better."""
        if isinstance(self.evaluator, str):
            return (
                f"give fitness=EvaluatorFitness(evaluator={self.evaluator!r}, maximize=True), or maximize=False; on "
                "the command line --fitness-setting maximize=true"
            )
        function = self._name if self._name.isidentifier() else "f"
        return (
            f"give fitness=EvaluatorFitness(evaluator={function}, maximize=True), or maximize=False; or write "
            "@more_is_better or @less_is_better of offlinekit.metrics above the function"
        )

    @property
    def _name(self) -> str:
        given = self.evaluator
        return given if isinstance(given, str) else getattr(given, "__name__", "evaluator")

    def _value(self, member: Algo, data: MDPDataset) -> float:
        found = self._measure(member, data)
        if isinstance(found, Mapping):
            raise ValueError(
                f"a fitness is one number, but {self._name} gives {sorted(found)}; write a function that picks one"
            )
        return float(found)


def check_rankable(fitness: Fitness, members: Sequence[Algo], dataset: MDPDataset) -> None:
    """Checks that a fitness can rank members, before a generation is trained in vain; a user's own passes.

    Args:
        fitness: Prepared.
        members: With networks, which need have learned nothing.
        dataset: What they learn from.

    Raises:
        UnsupportedError: For members that fitted Q evaluation, or the evaluator, cannot judge.
        DatasetError: If the environment does not fit.
        ValueError: For an evaluator that gives several numbers, or needs data that are not there.
    """
    first = members[0]
    if isinstance(fitness, OfflineFitness) and any(member.is_stateful for member in members):
        others = "'perplexity', " if first.family == "TEXT" else ""
        raise UnsupportedError(
            f"fitness='fqe' judges policies that act by a state alone, and {type(first).__name__} acts by what came "
            f"before; give fitness={others}an environment, or a function (algo, dataset) -> float"
        )
    if isinstance(fitness, EnvironmentFitness):
        check_fits(first, dataset, cast("EnvSource", fitness.env), option="env=")
    if isinstance(fitness, EvaluatorFitness) and isinstance(fitness.evaluator, str):
        with undisturbed(first):
            fitness.try_on(first)


def as_fitness(given: object) -> Fitness:
    """Returns what ranks members: "fqe", the name of an evaluator, a function, an environment, or a `Fitness`.

    Raises:
        ValueError: For an unknown name.
        TypeError: For anything else.
    """
    if isinstance(given, str):
        if given == FQE_NAME:
            return OfflineFitness()
        get_evaluator(given)  # Raises with the nearest name.
        return EvaluatorFitness(evaluator=given)
    if hasattr(given, "reset") and hasattr(given, "step"):
        return EnvironmentFitness(env=given)
    if isinstance(given, Fitness) and not isinstance(given, type):
        return given
    if callable(given):
        return EvaluatorFitness(evaluator=given)
    raise TypeError(
        'fitness must be "fqe", the name of an evaluator, a function (algo, dataset) -> float or an environment, got '
        f"{given!r}"
    )


def _td_error(member: Algo, data: MDPDataset) -> float:
    """Returns the TD error of a member, NaN if it has no values."""
    try:
        error = float(cast("float", get_evaluator("td_error")(member, data)))
    except UnsupportedError:
        return math.nan
    return error if math.isfinite(error) else math.inf


def _values(fits: Sequence[FQE], data: MDPDataset) -> Array:
    return np.array([fit.start_value(data) for fit in fits])


def _mean(returns: Sequence[float]) -> tuple[float, float]:
    """Returns the mean and its standard error, NaN of one number."""
    value = float(np.mean(returns))
    error = float(np.std(returns, ddof=1) / math.sqrt(len(returns))) if len(returns) > 1 else math.nan
    return value, error


def _field_names(settings: Configured) -> list[str]:
    return [name for name in type(settings).__annotations__ if not name.startswith("_")]

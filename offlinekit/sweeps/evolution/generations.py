"""The loop over generations: train, judge, record, save, breed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from offlinekit.core.algo import Algo
from offlinekit.core.populations import Population
from offlinekit.datasets import MDPDataset
from offlinekit.envs.given_env import GivenEnv
from offlinekit.errors import TrainingError
from offlinekit.ground.progress import Progress
from offlinekit.metrics.reporting.lineage import Lineage, LineageRow
from offlinekit.metrics.reporting.lineage_figures import write_lineage_figure
from offlinekit.nn.random import derive
from offlinekit.sweeps.evolution.breeding import Breeding, bred
from offlinekit.sweeps.evolution.evolution_settings import EvolutionSettings
from offlinekit.sweeps.evolution.fitness import (
    EnvironmentFitness,
    OfflineFitness,
    Reported,
    Verdict,
    as_fitness,
    check_rankable,
)
from offlinekit.sweeps.evolution.going_on import CONFIG, LIMITS, compared, note, place_of, restored
from offlinekit.sweeps.evolution.members import architecture_of
from offlinekit.training import run_folder
from offlinekit.training.interrupts import interruptible, stopped, whole_runs
from offlinekit.training.loggers import Logger
from offlinekit.training.setup.description import describe_data
from offlinekit.training.trackers import find_factories

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvSource
    from offlinekit.sweeps.evolution.scheduler import Scheduler

WINNER, RESULT = "winner.okt", "result.json"


@dataclass(frozen=True)
class Evolved:
    """The result of an evolution.

    Attributes:
        winner: The best-ranked member of the last generation.
        number: Of its place.
        reported: What it is worth by a judge that chose nothing.
        lineage: All members of all generations.
        population: The last generation.
        run_dir: The folder of the run, or None.
    """

    winner: Algo
    number: int
    reported: Reported
    lineage: Lineage
    population: Population
    run_dir: Path | None

    def __repr__(self) -> str:
        """Returns what came out, without what each member is; `winner` and `lineage` have that."""
        return (
            f"Evolved(winner={type(self.winner).__name__}, number={self.number}, reported={self.reported!r}, "
            f"members={len(self.population.algos)}, run_dir={self.run_dir and str(self.run_dir)!r})"
        )


@dataclass(frozen=True)
class Generation:
    """One generation, trained and judged.

    Attributes:
        number: From 1 on.
        rows: Its members in the lineage.
        best: Number of the best-ranked member.
        population: Its members.
        folder: Of the run, or None.
        result: Of the run, in its last generation.
    """

    number: int
    rows: Sequence[LineageRow]
    best: int
    population: Population
    folder: Path | None = None
    result: Evolved | None = None

    @property
    def evolved(self) -> Evolved:
        """The result, of the last generation.

        Raises:
            ValueError: Of an earlier one.
        """
        if self.result is None:
            raise ValueError(f"generation {self.number} is not the last one; the last has the result")
        return self.result


class Generations:
    """Runs a scheduler over a population.

    Args:
        scheduler: What decides between generations.
        population: Members to begin with.
        dataset: What they learn from, and what may judge them.
        settings: Complete.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        population: Population | Sequence[Algo],
        dataset: MDPDataset,
        settings: EvolutionSettings,
    ) -> None:
        members = list(population)
        self.scheduler, self.settings = scheduler, settings
        self.population = Population(members, varying=list(scheduler.search))
        self.fitness = as_fitness(settings["fitness"])
        self.given = dataset
        self.dataset = self.fitness.prepare(dataset, scheduler.seed)
        for member in members:
            member.build(self.dataset)
            scheduler.check(member)
        check_rankable(self.fitness, members, self.dataset)
        self._keep_discount(members[0].config)
        self.lineage = Lineage()
        self.moves: list[tuple[int | None, str]] = []
        self.folder: Path | None = None
        self.progress = Progress("evolution", settings["generations"], shown=False)
        self._factories = find_factories(settings["loggers"])
        self.interrupted = self.preempted = False

    def _keep_discount(self, first: Mapping[str, Any]) -> None:
        """Gives the judge the discount of the first member as the run began with it, which its evolution.json holds."""
        if isinstance(self.fitness, OfflineFitness):
            self.fitness.keep_discount(first.get("gamma"))

    def steps(self) -> Iterator[Generation]:
        """Yields each generation when it is judged and saved.

        Raises:
            KeyboardInterrupt: At Ctrl-C, in the generation under way, which begins anew when the run goes on.
        """
        yield from interruptible(self, self._steps(), self.settings["preemptible"])

    def _steps(self) -> Generator[Generation, None, None]:
        with ExitStack() as opened:
            self._open(opened)
            loggers = self._loggers(opened)
            last, name = self.lineage.last, type(self.scheduler).__name__
            shown, total = self.settings["progress"], self.settings["generations"]
            self.progress = opened.enter_context(
                Progress(f"{name} on {self.dataset.name}", total, last, shown, "generation")
            )
            while True:
                number = self.lineage.last + 1
                try:
                    self._raise_if_interrupted()
                    self._breed(number)
                    generation = self._generation(number)
                except KeyboardInterrupt as error:
                    raise type(error)(f"in generation {number}; {self._remedy(number)}") from error
                for logger in loggers:
                    logger.log(self._metrics(generation))
                yield generation
                if generation.result is not None:
                    return

    def _raise_if_interrupted(self) -> None:
        if self.interrupted:
            raise stopped(self, "")

    def _remedy(self, number: int) -> str:
        """Returns how to go on with a run that ended in a generation."""
        if self.folder is None:
            return "nothing saved (out=None)"
        if number == 1:
            return "no generation was complete"
        return f"go on with resume={str(self.folder)!r}"

    # One generation.

    def _generation(self, number: int) -> Generation:
        with whole_runs(self.settings["preemptible"]):
            with self.progress.span(0.5):
                errors = self._train()
            self._raise_if_interrupted()
            with self.progress.span(0.5):
                verdicts = self._judge(errors, number)
        updates = max(algo.grad_step for algo in self.population)
        rows = [
            LineageRow(
                number,
                place,
                *self.moves[place],
                verdict.fitness,
                verdict.value,
                verdict.spread,
                verdict.held_back,
                updates,
                architecture_of(algo),
                {name: getattr(algo, name) for name in self.scheduler.search},
            )
            for place, (algo, verdict) in enumerate(zip(self.population, verdicts, strict=True))
        ]
        self.lineage = Lineage([*self.lineage.rows, *rows])
        best = self.lineage.ranking(self.scheduler.average)[0]
        self._save(number)
        with self.progress.span(0):
            result = self._result(best) if self._is_last(number, rows[best]) else None
        return Generation(number, rows, best, self.population, self.folder, result)

    def _breed(self, number: int) -> None:
        """Fills the places of a generation; the first is the population as it is given, or pre-mutated."""
        seed = derive(self.scheduler.seed, f"generation {number}")
        breeding = Breeding(self.lineage, self.population.algos, self.dataset, seed)
        offspring = self.scheduler.next_generation(breeding) if number > 1 else self.scheduler.begin(breeding)
        filled = bred(self.population.algos, offspring, list(self.scheduler.search))
        self.population.algos[:] = [member for member, _ in filled]
        first = number == 1
        self.moves = [
            (None if first else o.parent, move) for o, (_, move) in zip(offspring, filled, strict=True)
        ]

    def _train(self) -> Mapping[int, TrainingError]:
        """Trains all members and returns what ended some of them early."""
        steps = self.settings["steps"]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "member .* of the population ended")  # The lineage says so.
            for _ in self.population.fitter(
                self.dataset,
                steps,
                out=None,
                progress=self.settings["progress"],
                log_interval=steps,
                eval_interval=steps,
                value_alarm="off",
            ):
                pass
        return self.population.errors

    def _judge(self, errors: Mapping[int, TrainingError], number: int) -> list[Verdict]:
        sound = [place for place in range(len(self.population)) if place not in errors]
        judged = self.fitness.judge([self.population[place] for place in sound], number)
        verdicts = dict(zip(sound, judged, strict=True))
        failed = {
            place: Verdict(-math.inf, held_back=f"diverged: {error}") for place, error in errors.items()
        }
        return [{**verdicts, **failed}[place] for place in range(len(self.population))]

    def _is_last(self, number: int, best: LineageRow) -> bool:
        target, budget = self.settings["target"], self.settings["budget"]
        reached = target is not None and not best.held_back and best.fitness >= target
        spent = self.settings["steps"] * len(self.population) * number
        return reached or number >= self.settings["generations"] or (budget is not None and spent >= budget)

    def _result(self, best: int) -> Evolved:
        winner = self.population[best]
        reported = self.fitness.report(winner)
        if self.folder is not None:
            winner.save(self.folder / WINNER)
            write_lineage_figure(self.lineage, self.folder / "lineage.svg", best)
            run_folder.write_json(self.folder / RESULT, {"member": best, **_plain(asdict(reported))})
        return Evolved(winner, best, reported, self.lineage, self.population, self.folder)

    def _metrics(self, generation: Generation) -> dict[str, Any]:
        rows, best = generation.rows, generation.rows[generation.best]
        finite = [row.fitness for row in rows if math.isfinite(row.fitness)]
        mean = sum(finite) / len(finite) if finite else math.nan
        numbers = {f"best/{n}": v for n, v in best.values.items() if isinstance(v, int | float)}
        return {"step": best.updates, "fitness/best": best.fitness, "fitness/mean": mean, **numbers}

    # The folder.

    def _open(self, opened: ExitStack) -> None:
        """Makes the folder of a new run, or restores a generation of one that goes on."""
        resume, out = self.settings["resume"], self.settings["out"]
        if resume is not None:
            self.folder = Path(resume)
            opened.enter_context(run_folder.locked(self.folder))
            self._restore(self.settings["from_generation"])
            return
        if self.settings["from_generation"] is not None:
            raise ValueError("from_generation belongs to a run that goes on; give resume=FOLDER as well")
        if out is None:
            if self._factories:
                raise ValueError("loggers belong to a run folder; give out='runs' as well")
            return
        self.folder = run_folder.create(Path(out), type(self.scheduler).__name__, self.dataset.name)
        (self.folder / "checkpoints").rename(self.folder / "generations")
        opened.enter_context(run_folder.locked(self.folder))
        run_folder.write_json(self.folder / CONFIG, self.describe())

    def describe(self) -> dict[str, Any]:
        """Returns what the run is, as plain data."""
        own = (*LIMITS, "steps")
        return {
            "scheduler": self.scheduler.describe(),
            "fitness": self.fitness.describe(),
            **{name: self.settings[name] for name in own},  # type: ignore[literal-required]  # Its own keys.
            "dataset": self._data,
            **self._env_facts,
            "members": [{"algo": type(algo).__name__, **algo.config} for algo in self.population],
        }

    @cached_property
    def _data(self) -> dict[str, Any]:
        """What data there are, those held out included."""
        data: dict[str, Any] = describe_data(self.given, {})["dataset"]
        return data

    @cached_property
    def _env_facts(self) -> dict[str, Any]:
        """What is known of the environment that judges; nothing without one."""
        if not isinstance(self.fitness, EnvironmentFitness):
            return {}
        return GivenEnv(cast("EnvSource", self.fitness.env)).facts

    def _loggers(self, opened: ExitStack) -> list[Logger]:
        loggers = (
            [] if self.folder is None else [make(self.folder, self.describe()) for make in self._factories]
        )
        for logger in loggers:
            opened.callback(logger.close)
        return loggers

    def _save(self, number: int) -> None:
        """Writes the members, then the table that counts them as done."""
        if self.folder is None:
            return
        place = place_of(self.folder, number)
        place.mkdir(exist_ok=True)
        for member, algo in enumerate(self.population):
            algo.save(place / f"member_{member:02d}.okt")
        self.lineage.write(self.folder)

    def _restore(self, number: int | None) -> None:
        """Takes up the members of a generation.

        Raises:
            ValueError: If there is no such generation, or it has other members; see `compared` as well.
        """
        assert self.folder is not None  # `_open` set it.
        lineage, config = Lineage.read(self.folder), self.describe()
        before = compared(self.folder, config)
        number = lineage.last if number is None else number
        rows = lineage.generation(number)
        if not rows or not len(rows) == len(self.population) == len(before["members"]):
            raise ValueError(
                f"{self.folder} has generations 1 to {lineage.last} of {len(lineage.generation(lineage.last))} "
                f"members, not generation {number} of {len(self.population)}"
            )
        if number >= self.settings["generations"]:
            raise ValueError(
                f"{self.folder} has come to generation {number}; give generations={number + 1} or more to go on"
            )
        self.lineage = lineage.until(number)
        held = restored(
            self.folder, self.lineage, self.population.algos, before["members"], self.scheduler.search.keys()
        )
        self.population.algos[:] = held
        self._keep_discount(before["members"][0])
        note(self.folder, before, config, number)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values as JSON has them, without NaN."""
    return {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in values.items()}

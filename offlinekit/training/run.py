"""One training run as a generator: updates, evaluation, logs, checkpoints, early stopping, resume."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Protocol

from offlinekit.errors import TrainingError, did_you_mean
from offlinekit.events import get_logger
from offlinekit.ground.progress import Progress
from offlinekit.interfaces import Trainable
from offlinekit.training import run_folder
from offlinekit.training.engines.engine import CHECK_EVERY, Engine
from offlinekit.training.episode_table import EPISODES, EpisodeTable
from offlinekit.training.interrupts import interruptible, stopped
from offlinekit.training.loggers import Callbacks, CSVLogger, History, Logger
from offlinekit.training.setup.settings import SharedSettings
from offlinekit.training.setup.user_code import user_code
from offlinekit.training.trackers import check_installed, find_factories

log = get_logger()


class Alarm(Protocol):
    """A check of whether a run diverges, made whenever it writes a row."""

    stops: bool

    def update(self, history: Sequence[Mapping[str, Any]], step: int) -> dict[str, float]:
        """Returns the metrics that it watches, and says what is wrong with them once."""

    def triggered(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Returns whether a row of the history diverges."""


class Run:
    """Trains an algorithm that has its networks.

    Its clock, by which rows, evaluations and checkpoints come, counts updates; a subclass may count something else.

    Args:
        algo: What learns.
        engine: What takes the updates.
        n_steps: How many, with those of a run that goes on.
        settings: How the run goes, complete.
        evaluators: Name to a function that gives metrics; called every eval_interval and at the end. What it
            gives under `EPISODES`, columns of one number an episode, goes to returns.csv.
        config: What config.json says of the run.
        folder: Of a run to go on with, or None.
        state: Of the checkpoint to go on from, or None.
        alarm: What watches the run, or None.
        last_look: Is called once the run is over and saved.
    """

    unit: ClassVar[str] = "update"

    def __init__(
        self,
        algo: Trainable,
        engine: Engine,
        n_steps: int,
        settings: SharedSettings,
        evaluators: Mapping[str, Callable[[], dict[str, Any]]],
        config: dict[str, Any],
        folder: Path | None = None,
        state: dict[str, Any] | None = None,
        alarm: Alarm | None = None,
        last_look: Callable[[], None] = lambda: None,
    ) -> None:
        self.alarm, self.last_look = alarm, last_look
        self.algo, self.engine, self.evaluators = algo, engine, evaluators
        self.n_steps, self.settings, self.config = n_steps, settings, config
        self.history = History(state["history"] if state else [])
        self.callbacks = Callbacks(algo, settings["callbacks"])
        self.start: int = state["start"] if state else self.clock
        # Schedules of runs that earlier versions began started with the algorithm.
        self.schedule_start: int = state.get("schedule_start", 0) if state else self.start
        self.elapsed: float = state["elapsed"] if state else 0.0
        self.system = {**run_folder.environment(algo.impl.device), **user_code(algo)}
        if state:
            engine.load_state(state["engine"], algo.impl.device)
            run_folder.warn_of_changes(folder, state.get("system", {}), self.system)
        self.end = self.start + n_steps
        self.prepare(state)
        self.is_over = bool(
            folder and self.clock >= self.end and run_folder.is_finished(folder)
        )  # Before it begins.
        algo.impl.schedule_start, algo.impl.horizon = self.schedule_start, self.last_update
        _warn_of_late_objectives(algo.impl.objectives, self.last_update)
        self.interrupted = self.preempted = False
        self.leaving = False  # About to stop, with all processes of the run.
        self.out_of_time = False  # Likewise, but because `max_seconds` are over.
        self._saved = (-1, 0)  # Clock and rows of the last checkpoint.
        self._deadline = math.inf
        self.noted: dict[str, Any] | None = None  # What config.json says once the run goes on otherwise.
        self._lock = ExitStack()
        self._loggers: list[Logger] = []
        self.folder = folder
        if settings["out"] is not None:
            check_installed((*("tensorboard",) * settings["tensorboard"], *settings["loggers"]))
        if folder is None and settings["out"] is not None:
            self.folder = run_folder.create(
                Path(settings["out"]), type(algo).__name__, algo.dataset_name, settings["run_name"]
            )
            self._lock.enter_context(run_folder.locked(self.folder))
            run_folder.describe(self.folder, config, run_folder.system_info(algo.seed or 0, self.system))
        self.episodes = self.folder and EpisodeTable(
            self.folder / "returns.csv", self._last_row() if folder else None
        )

    def prepare(self, state: dict[str, Any] | None) -> None:
        """Prepares what a kind of run has besides, before a folder is made; does nothing here.

        Args:
            state: Of the checkpoint that the run goes on from, or None.
        """

    def steps(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yields (update, metrics) at each log and evaluation interval and at the end.

        Raises:
            ValueError: For a run that is over.
        """
        yield from interruptible(self, self._steps(), self.settings["preemptible"])

    def _steps(self) -> Generator[tuple[int, dict[str, float]], None, None]:
        bar = Progress(self.label, self.n_steps, self.done, self.settings["progress"], self.unit)
        try:
            if self.is_over:
                raise nothing_left(str(self.folder), self.done, self.n_steps, self.unit)
            self.open(bar)
            with bar.span(0):  # Evaluations show the line of the run.
                row = self.settle() if self.row_is_due() else None  # As after a kill in an evaluation.
            while True:
                if row is not None:
                    yield self.clock, {k: v for k, v in row.items() if k != "step"}
                if not self.goes_on():
                    break
                self._advance(bar)
                with bar.span(0):
                    row = self.settle()
            self.finish()
        except TrainingError as error:
            raise self.explained(error) from error
        finally:
            self.close()

    def _last_row(self) -> int:
        return self.history[-1]["step"] if self.history else self.start

    # The parts of a run, for whatever drives it.

    @property
    def label(self) -> str:
        """The label of its progress bar."""
        return f"{type(self.algo).__name__} on {self.algo.dataset_name}"

    @property
    def clock(self) -> int:
        """Count of the run: updates of the algorithm so far."""
        return int(self.algo.grad_step)

    @property
    def last_update(self) -> int:
        """The number of the update with which the run ends."""
        return self.end

    @property
    def done(self) -> int:
        """Updates of its `n_steps` that this run has taken."""
        return self.clock - self.start

    @property
    def timing(self) -> tuple[int, ...]:
        """Numbers that members of a stack have in common: the first update, also of schedules, the newest, the last."""
        return self.start, self.schedule_start, self.algo.grad_step, self.end

    def hold(self, lock: ExitStack) -> None:
        """Takes over the lock of a run folder until the run is closed."""
        self._lock.push(lock)

    def open(self, *loggers: Logger) -> None:
        """Starts the clock and the loggers, the given ones and those of the run folder; notes how it goes on."""
        if self.folder is not None and self.noted is not None:  # Now that nothing can refuse it any more.
            run_folder.rewrite_config(self.folder, self.noted)
        self.algo.in_run = self.algo.in_run or "run"
        now = monotonic()
        self._began, self._deadline = now - self.elapsed, now + (self.settings["max_seconds"] or math.inf)
        self._loggers = [*loggers, *self._folder_loggers(), self.callbacks]
        log.info("run started", folder=str(self.folder), n_steps=self.n_steps, seed=self.algo.seed)

    def tick(self) -> None:
        """Records the seconds that the run has taken so far."""
        self.elapsed = monotonic() - self._began

    def is_late(self) -> bool:
        """Returns whether the seconds that this run was given are over."""
        return monotonic() >= self._deadline

    def goes_on(self) -> bool:
        """Returns whether updates are left to take."""
        return self.clock < self.end and not self.out_of_time and not self._stopped_early()

    def ahead(self) -> int:
        """Returns the number of updates up to the next event."""
        intervals = (self.settings["log_interval"], self.settings["eval_interval"], self._checkpoint_interval)
        nearest = min(every - self.done % every for every in intervals)
        return min(nearest, self.end - self.clock)

    def take(self, n_updates: int, stop: Callable[[], bool]) -> int:
        """Takes updates, at most `n_updates`, and returns how many; a subclass may do something between two of them."""
        return self.engine.run(n_updates, stop)

    def settle(self) -> dict[str, Any] | None:
        """Evaluates, logs and saves what is due, and returns the new row of the history, if any.

        Functions of the user, which may fail or never end, are called after a checkpoint.

        Raises:
            KeyboardInterrupt: If the user interrupts, after a checkpoint.
        """
        self.tick()
        row = self._add_row() if self.row_is_due() else None
        if self._due(self._checkpoint_interval) or self.clock == self.end:
            self.checkpoint()
        if self.leaving and self.goes_on():
            self._leave()
        return row

    def row_is_due(self) -> bool:
        """Returns whether the history is to have a row of this update, and has none yet."""
        if self.done == 0 or (self.history and self.history[-1]["step"] == self.clock):
            return False
        return self._due(self.settings["log_interval"]) or self._evaluation_is_due()

    def explained(self, error: TrainingError) -> TrainingError:
        """Returns an error that also says where the last checkpoint is."""
        kept = f"; the last checkpoint is in {self.folder}" if self.folder else ""
        return TrainingError(f"{error}{kept}")

    def close(self) -> None:
        """Closes the loggers and unlocks the run folder; losses are reported to no sampler from then on."""
        self.algo.in_run, self.algo.impl.schedule_start = "", 0
        for objective in self.algo.impl.objectives:
            objective.report = None
        loggers, self._loggers = self._loggers, []
        with self._lock:
            for logger in loggers:
                logger.close()

    def state(self) -> dict[str, Any]:
        """Returns what a resumed run needs beyond the algorithm's own state."""
        return {
            "start": self.start,
            "schedule_start": self.schedule_start,
            "elapsed": self.elapsed,
            "history": self.history,
            "engine": self.engine.state(),
            "system": self.system,
        }

    def _folder_loggers(self) -> list[Logger]:
        loggers: list[Logger] = []
        if self.folder is not None:
            loggers.append(CSVLogger(self.folder / "metrics.csv", self.history))
            named = ("tensorboard",) if self.settings["tensorboard"] else ()
            for factory in find_factories([*named, *self.settings["loggers"]]):
                loggers.append(factory(self.folder, self.config))
        return loggers

    def _advance(self, bar: Progress) -> None:
        """Takes updates up to the next event, a few at a time so that interrupts and NaN are seen."""
        n = self.ahead()
        while n > 0 and not self.leaving and not self.out_of_time:
            taken = self.take(min(n, CHECK_EVERY), lambda: self.interrupted or self.is_late())
            flags = (self.interrupted, self.preempted, self.is_late())
            self.leaving, self.preempted, self.out_of_time = self.engine.agrees(*flags)
            bar.advance(taken)
            n -= taken

    @property
    def _checkpoint_interval(self) -> int:
        return self.settings["checkpoint_interval"] or self.settings["eval_interval"]

    def _due(self, every: int) -> bool:
        return self.done % every == 0

    def _add_row(self) -> dict[str, Any]:
        self.secure()
        row = self._row()
        self.history.append(row)
        self._check_monitored()
        self._log(row)
        self._keep_best()
        return row

    def secure(self) -> None:
        """Saves before functions of the user are called that evaluate, which may fail or never end."""
        has_evaluators = self.evaluators or self.settings.get("team") is not None  # Maybe in another process.
        if self._evaluation_is_due() and has_evaluators and self._saved != (self.clock, len(self.history)):
            self.checkpoint()

    def _log(self, row: dict[str, Any]) -> None:
        """Hands a row to all loggers; saves if one of them fails."""
        try:
            for logger in self._loggers:
                logger.log(row)
        except Exception:
            self.checkpoint()
            raise

    def _evaluation_is_due(self) -> bool:
        return self._due(self.settings["eval_interval"]) or self.clock == self.end

    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"step": self.clock, "time": round(self.elapsed, 3)}
        row.update(self.engine.take_means())
        if self.alarm is not None:
            row.update(self.engine.together(self.alarm.update(self.history, self.clock)))
        if self._evaluation_is_due():
            measured: dict[str, float] = {}
            for evaluator in self.evaluators.values():
                figures = dict(evaluator())
                episodes = figures.pop(EPISODES, None)
                if self.episodes and episodes is not None:
                    self.episodes.add(self.clock, episodes)
                measured.update(figures)
            row.update(self.engine.together(measured))
        return row

    def _check_monitored(self) -> None:
        """Refuses a metric of early stopping that no row has, once each loss and each evaluator has given its own.

        Raises:
            ValueError: If early stopping looks at a column that there is not; suggests the nearest.
        """
        stopping, objectives = self.settings["early_stopping"], self.algo.impl.objectives
        had_turn = all(objective.first <= self.algo.grad_step - objective.every for objective in objectives)
        if stopping is None or not self._evaluation_is_due() or not had_turn:
            return
        columns = {name for row in self.history for name in row}
        if stopping.metric not in columns:
            hint = did_you_mean(stopping.metric, columns) or f"; it has: {', '.join(sorted(columns))}"
            raise ValueError(
                f"early_stopping waits for {stopping.metric!r}, which no row of this run has{hint}"
            )

    def _keep_best(self) -> None:
        metric = "eval/return_mean"
        if self.folder is None or metric not in self.history[-1]:
            return
        *earlier, newest = (row[metric] for row in self.history if metric in row)
        if not math.isfinite(newest):
            log.warning("evaluation gave no finite number", metric=metric, value=newest, step=self.clock)
        elif newest > max(filter(math.isfinite, earlier), default=-math.inf):
            self.algo.save(self.folder / "best.okt")

    def _stopped_early(self) -> bool:
        if self.alarm is not None and self.alarm.stops and self.alarm.triggered(self.history):
            log.info("run stopped by the value alarm", step=self.clock)
            return True
        if self.callbacks.stopped:
            log.info("run stopped by a callback", step=self.clock)
            return True
        stopping = self.settings["early_stopping"]
        if stopping is None or not self.history or not stopping.should_stop(self.history):
            return False
        log.info("run stopped early", metric=stopping.metric, step=self.clock)
        return True

    def checkpoint(self) -> None:
        """Writes the whole state; removes checkpoints beyond the newest few, and damaged ones of later updates.

        Raises:
            TrainingError: If a parameter is no longer finite; the checkpoints before stay.
        """
        state = self.state()  # Of all processes of the run, of which one writes.
        self._saved = (self.clock, len(self.history))
        if self.folder is None:
            return
        self._check_parameters()
        path = self.algo.save(run_folder.checkpoint_path(self.folder, self.clock), run=state)
        run_folder.prune(self.folder, self.settings["keep_checkpoints"], self.clock)
        self.callbacks.checkpoint(path)

    def save_initial(self) -> None:
        """Writes a checkpoint before the first update, so that members of a population have one in common."""
        if self.folder is not None and not run_folder.checkpoints(self.folder):
            self.checkpoint()

    def _check_parameters(self) -> None:
        """Refuses to keep what a gradient has spoiled that no metric has shown yet."""
        wrong = [
            name for name, value in self.algo.impl.named_parameters() if not bool(value.isfinite().all())
        ]
        if wrong:
            raise TrainingError(
                f"the parameters {', '.join(wrong[:3])} are no longer finite, seen at update "
                f"{self.algo.grad_step}; lower the learning rate or clip gradients (clip_grad_norm=1.0)"
            )

    def finish(self) -> None:
        """Writes the last policy; of a run that is out of time, a checkpoint to go on from."""
        if self.out_of_time and self.clock < self.end:
            self.checkpoint()
            log.info("run out of time", folder=str(self.folder), step=self.clock)
            return
        if self._saved != (self.clock, len(self.history)):  # As of a run that stopped early.
            self.checkpoint()
        if self.folder is not None:
            self._check_parameters()
            self.algo.save(self.folder / "policy.okt")
        log.info("run finished", folder=str(self.folder), step=self.clock, seconds=self.elapsed)
        self.last_look()
        self.callbacks.end()

    def _leave(self) -> None:
        """Saves at the update where the user interrupted, and says how to go on."""
        self.checkpoint()
        raise stopped(self, f"interrupted after {self.unit} {self.clock}: {self.way_on()}")

    def way_on(self) -> str:
        """Returns how to go on from the last checkpoint, for a message."""
        return f"saved; go on with resume={str(self.folder)!r}" if self.folder else "nothing saved (out=None)"


def nothing_left(whose: str, done: int, n_steps: int, unit: str = "update") -> ValueError:
    """Returns what is raised if all updates, or environment steps, are taken already."""
    return ValueError(
        f"{whose} has taken {done} {unit}s already, n_steps={n_steps} asks for no more; give a larger n_steps "
        "to go on (--steps on the command line)"
    )


def _warn_of_late_objectives(objectives: Sequence[Any], end: int) -> None:
    """Warns of what a run ends too early to learn."""
    late = {objective.name: objective.first for objective in objectives if objective.first > end}
    if late:
        begin = ", ".join(f"{name} from update {first:,} on" for name, first in late.items())
        warnings.warn(
            f"this run ends at update {end:,} and does not learn all: {begin}; take more updates, or shorten the "
            "warm-up (warmup_steps)",
            stacklevel=4,
        )

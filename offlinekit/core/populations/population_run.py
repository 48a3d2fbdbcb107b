"""The runs of a population side by side: stacks take turns; each run logs, saves and ends by itself."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from offlinekit.core.populations.grouping import groups
from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.run_groups import Group, RunGroup, make_run_groups
from offlinekit.errors import TrainingError
from offlinekit.ground.progress import Progress
from offlinekit.training.engines.engine import CHECK_EVERY
from offlinekit.training.interrupts import interruptible, stopped
from offlinekit.training.run import Run, nothing_left

Rows = dict[int, dict[str, float]]
"""New metrics of members, by their numbers."""


R = TypeVar("R", bound=Run)
G = TypeVar("G", bound="Group[Run]")
T = TypeVar("T")


class RunsSideBySide(ABC, Generic[R, G]):
    """Trains members that have their networks, each with a run of its own, in groups that take turns.

    Args:
        runs: One a member; those that are over stay as they are.
        progress: Whether a terminal shows a progress bar, in updates of members.
        kept: What makes stacks, with those of earlier fits.

    Attributes:
        run_groups: What is still in training.
        stacks: The numbers of the members that began as one program together.
        errors: What ended members early, by their numbers.
    """

    interrupted: bool

    def __init__(self, runs: Sequence[R], progress: bool, kept: KeptStacks) -> None:
        self.runs, self.progress, self.kept = runs, progress, kept
        going = [number for number, run in enumerate(runs) if not run.is_over]
        self.run_groups: list[G] = []
        for places in groups([runs[number] for number in going]):
            self.run_groups += self._make_groups({going[p]: runs[going[p]] for p in places})
        self.stacks = [list(group.runs) for group in self.run_groups]
        self.errors: dict[int, TrainingError] = {}
        self.interrupted = self.preempted = self.out_of_time = False

    def steps(self) -> Iterator[tuple[int, Rows]]:
        """Yields (update, rows) of members that train together, at each of their intervals and at the end.

        Raises:
            ValueError: If all runs are over before they begin.
            TrainingError: If no member could go on to its end.
            KeyboardInterrupt: At Ctrl-C, after each member's checkpoint.
        """
        preemptible = any(run.settings["preemptible"] for run in self.runs)
        yield from interruptible(self, self._steps(), preemptible)

    def _steps(self) -> Generator[tuple[int, Rows], None, None]:
        if not self.run_groups:
            first = self.runs[0]
            raise nothing_left("each member", first.done, first.n_steps, first.unit)
        bar = self._bar()
        try:
            self._open([run for run in self.runs if not run.is_over])
            for group in list(self.run_groups):
                pending = [n for n, run in group.runs.items() if run.row_is_due()]
                yield from self._settle(group, bar, pending, list(group.runs))
            while self.run_groups:
                for group, numbers in self._advance(min(self.run_groups, key=_done), bar):
                    group.sync_members(numbers)
                    yield from self._settle(group, bar, numbers, numbers)
                if self.interrupted and self.run_groups:
                    self._leave(bar)
                if self.out_of_time:
                    self._end_in_time()
        finally:
            bar.close()
            for run in self.runs:
                run.close()
        if len(self.errors) == len(self.runs):
            raise self.errors[0]

    def _open(self, runs: Sequence[R]) -> None:
        """Starts runs, each with a checkpoint, since one whose model learns first may be interrupted there."""
        for run in runs:
            run.save_initial()
        try:
            for run in runs:
                run.open()
        except KeyboardInterrupt as stop:
            raise type(stop)(f"interrupted before the first update: {self._way_on()}") from stop

    def _settle(
        self, group: G, bar: Progress, numbers: Sequence[int], resting: Sequence[int]
    ) -> Iterator[tuple[int, Rows]]:
        """Evaluates, logs and saves what is due for members of a group, and yields their rows.

        Args:
            group: Of the members.
            bar: Shows their means.
            numbers: Of members for which something may be due.
            resting: Of members whose runs are finished then, if they are over.
        """
        failures: dict[int, TrainingError] = {}
        due = [number for number in numbers if self.runs[number].row_is_due()]
        self._of_each(
            due, lambda run: run.secure(), failures
        )  # All, as an evaluation of the first may end the process.
        going = [number for number in numbers if number not in failures]
        with bar.span(0):  # Evaluations show the line of the population.
            settled = self._of_each(going, lambda run: run.settle(), failures)
        rows = {number: row for number, row in settled.items() if row is not None}
        if rows:
            bar.log(_means(rows))
            yield _step(group), {n: _without_step(row) for n, row in rows.items()}
        for left in self._without_failures(group, failures):
            self._let_go(left, [number for number in resting if number in left.runs])

    def _of_each(
        self, numbers: Sequence[int], function: Callable[[R], T], failures: dict[int, TrainingError]
    ) -> dict[int, T]:
        """Returns what a function returns of the runs of members, and adds the errors of others to `failures`."""
        results = {}
        for number in numbers:
            try:
                results[number] = function(self.runs[number])
            except TrainingError as error:
                failures[number] = error
        return results

    def _bar(self) -> Progress:
        labels = sorted({run.label for run in self.runs})
        label = f"{len(self.runs)} x {labels[0]}" if len(labels) == 1 else f"{len(self.runs)} members"
        total, done = sum(run.n_steps for run in self.runs), sum(run.done for run in self.runs)
        return Progress(label, total, done, self.progress, self.runs[0].unit)

    @abstractmethod
    def _make_groups(self, runs: dict[int, R]) -> list[G]:
        """Returns what advances runs of one structure."""

    @abstractmethod
    def _advance(self, group: G, bar: Progress) -> list[tuple[G, list[int]]]:
        """Trains a group for a while; returns what then has events, the group or what is left of it, and of whom."""

    def _without_failures(self, group: G, failures: Mapping[int, TrainingError]) -> list[G]:
        """Notes what ended members early, and returns the group, or groups of those that are left."""
        for number, error in failures.items():
            self.errors[number] = self.runs[number].explained(error)
            warnings.warn(f"member {number} of the population ended: {self.errors[number]}", stacklevel=4)
        return self._replace(group, failures) if failures else [group]

    def _end_in_time(self) -> None:
        """Ends all runs with a checkpoint, since `max_seconds` are over."""
        for group in list(self.run_groups):
            group.sync_members()
            for run in group.runs.values():
                run.tick()
                run.out_of_time = True
            self._let_go(group, list(group.runs))

    def _let_go(self, group: G, numbers: Sequence[int]) -> None:
        """Finishes runs of a group that are over, of some members."""
        over = [number for number in numbers if not self.runs[number].goes_on()]
        for number in over:
            self.runs[number].finish()
        if over:
            self._replace(group, over)

    def _replace(self, group: G, gone: Collection[int]) -> list[G]:
        """Moves the members of a group that stay into groups of their own."""
        group.sync_members()
        rest = {number: self.runs[number] for number in group.runs if number not in gone}
        run_groups = self._make_groups(rest) if rest else []
        place = self.run_groups.index(group)
        self.run_groups[place : place + 1] = run_groups
        return run_groups

    def _leave(self, bar: Progress) -> None:
        """Saves every member that is in training, and says how to go on."""
        for group in self.run_groups:
            group.sync_members()
            for run in group.runs.values():
                run.tick()
                run.checkpoint()
        run = _first(self.run_groups[0])
        raise stopped(self, f"interrupted after {run.unit} {run.clock}: {self._way_on()}")

    def _way_on(self) -> str:
        folders = [None if run.folder is None else str(run.folder) for run in self.runs]
        return "nothing saved (out=None)" if None in folders else f"saved; go on with resume={folders}"


class PopulationRun(RunsSideBySide[Run, RunGroup]):
    """Trains members on a dataset; those of a group have their events at the same updates."""

    def _make_groups(self, runs: dict[int, Run]) -> list[RunGroup]:
        """Returns what advances runs of one structure."""
        return make_run_groups(runs, self.kept)

    def _advance(self, group: RunGroup, bar: Progress) -> list[tuple[RunGroup, list[int]]]:
        """Takes a group's next updates; returns what then has an event, the group or what is left, and its members."""
        before, ahead = _step(group), _first(group).ahead()
        failures = group.advance(min(ahead, CHECK_EVERY), self._must_stop)
        taken = _step(group) - before
        bar.advance(taken * len(group.runs))
        run_groups = self._without_failures(group, failures)
        return [(left, list(left.runs)) for left in run_groups] if taken == ahead else []

    def _must_stop(self) -> bool:
        self.out_of_time = self.out_of_time or any(run.is_late() for run in self.runs)
        return self.interrupted or self.out_of_time


def _first(group: Group[R]) -> R:
    return next(iter(group.runs.values()))


def _step(group: Group[Run]) -> int:
    step: int = _first(group).algo.grad_step
    return step


def _done(group: Group[Run]) -> int:
    return _first(group).done


def _without_step(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}


def _means(rows: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Returns the mean over members of each metric that all of them have."""
    first, *others = rows.values()
    common = [name for name in first if all(name in row for row in others)]
    return {name: sum(row[name] for row in rows.values()) / len(rows) for name in common}

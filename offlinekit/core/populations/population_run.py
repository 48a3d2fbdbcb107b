"""The runs of a population side by side: stacks take turns; each run logs, saves and ends by itself."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Generator, Iterator, Sequence
from typing import Any

from offlinekit.core.populations.grouping import groups
from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.run_groups import RunGroup, make_run_groups
from offlinekit.errors import TrainingError
from offlinekit.ground.progress import Progress
from offlinekit.training.engines.engine import CHECK_EVERY
from offlinekit.training.interrupts import interruptible, stopped
from offlinekit.training.run import Run, nothing_left

Rows = dict[int, dict[str, float]]
"""New metrics of members, by their numbers."""


class PopulationRun:
    """Trains members that have their networks, each with a run of its own.

    Args:
        runs: One a member; those that are over stay as they are.
        progress: Whether a terminal shows a progress bar, in updates of members.
        kept: What makes stacks, with those of earlier fits.

    Attributes:
        run_groups: What is still in training.
        stacks: The numbers of the members that began as one program together.
        errors: What ended members early, by their numbers.
    """

    def __init__(self, runs: Sequence[Run], progress: bool, kept: KeptStacks) -> None:
        self.runs, self.progress, self.kept = runs, progress, kept
        going = [number for number, run in enumerate(runs) if not run.is_over]
        self.run_groups: list[RunGroup] = []
        for places in groups([runs[number] for number in going]):
            self.run_groups += make_run_groups({going[p]: runs[going[p]] for p in places}, kept)
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
            raise nothing_left("each member", first.done, first.n_steps)
        bar = self._bar()
        try:
            for run in self.runs:
                if not run.is_over:
                    run.open()
                    run.save_initial()
            for group in list(self.run_groups):
                pending = [n for n, run in group.runs.items() if run.row_is_due()]
                yield from self._settle(group, bar, pending)
            while self.run_groups:
                for group in self._advance(min(self.run_groups, key=_done), bar):
                    group.sync_members()
                    yield from self._settle(group, bar, list(group.runs))
                if self.interrupted and self.run_groups:
                    self._leave()
                if self.out_of_time:
                    self._end_in_time()
        finally:
            bar.close()
            for run in self.runs:
                run.close()
        if len(self.errors) == len(self.runs):
            raise self.errors[0]

    def _settle(self, group: RunGroup, bar: Progress, numbers: Sequence[int]) -> Iterator[tuple[int, Rows]]:
        """Evaluates, logs and saves what is due for members of a group, yields their rows, finishes runs that end."""
        for number in numbers:  # All of them, as an evaluation of the first may end the process.
            if group.runs[number].row_is_due():
                group.runs[number].secure()
        with bar.span(0):  # Evaluations show the line of the population.
            rows = {n: row for n in numbers if (row := group.runs[n].settle()) is not None}
        if rows:
            bar.log(_means(rows))
            yield _step(group), {n: _without_step(row) for n, row in rows.items()}
        self._let_go(group)

    def _bar(self) -> Progress:
        labels = sorted({run.label for run in self.runs})
        label = f"{len(self.runs)} x {labels[0]}" if len(labels) == 1 else f"{len(self.runs)} members"
        total, done = sum(run.n_steps for run in self.runs), sum(run.done for run in self.runs)
        return Progress(label, total, done, self.progress)

    def _advance(self, group: RunGroup, bar: Progress) -> list[RunGroup]:
        """Takes a group's next updates and returns what then has an event: the group, or what is left of it."""
        before, ahead = _step(group), _first(group).ahead()
        failures = group.advance(min(ahead, CHECK_EVERY), self._must_stop)
        taken = _step(group) - before
        bar.advance(taken * len(group.runs))
        for number, error in failures.items():
            self.errors[number] = self.runs[number].explained(error)
            warnings.warn(f"member {number} of the population ended: {self.errors[number]}", stacklevel=4)
        run_groups = self._replace(group, failures) if failures else [group]
        return run_groups if taken == ahead else []

    def _must_stop(self) -> bool:
        self.out_of_time = self.out_of_time or any(run.is_late() for run in self.runs)
        return self.interrupted or self.out_of_time

    def _end_in_time(self) -> None:
        """Ends all runs with a checkpoint, since `max_seconds` are over."""
        for group in list(self.run_groups):
            group.sync_members()
            for run in group.runs.values():
                run.tick()
                run.out_of_time = True
            self._let_go(group)

    def _let_go(self, group: RunGroup) -> None:
        """Finishes the runs of a group that are over."""
        over = [number for number, run in group.runs.items() if not run.goes_on()]
        for number in over:
            self.runs[number].finish()
        if over:
            self._replace(group, over)

    def _replace(self, group: RunGroup, gone: Collection[int]) -> list[RunGroup]:
        """Moves the members of a group that stay into groups of their own."""
        group.sync_members()
        rest = {number: run for number, run in group.runs.items() if number not in gone}
        run_groups = make_run_groups(rest, self.kept) if rest else []
        place = self.run_groups.index(group)
        self.run_groups[place : place + 1] = run_groups
        return run_groups

    def _leave(self) -> None:
        """Saves every member that is in training, and says how to go on."""
        for group in self.run_groups:
            group.sync_members()
            for run in group.runs.values():
                run.tick()
                run.checkpoint()
        folders = [None if run.folder is None else str(run.folder) for run in self.runs]
        saved = "nothing saved (out=None)" if None in folders else f"saved; go on with resume={folders}"
        raise stopped(self, f"interrupted after update {_step(self.run_groups[0])}: {saved}")


def _first(group: RunGroup) -> Run:
    return next(iter(group.runs.values()))


def _step(group: RunGroup) -> int:
    step: int = _first(group).algo.grad_step
    return step


def _done(group: RunGroup) -> int:
    return _first(group).done


def _without_step(row: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in row.items() if name != "step"}


def _means(rows: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Returns the mean over members of each metric that all of them have."""
    first, *others = rows.values()
    common = [name for name in first if all(name in row for row in others)]
    return {name: sum(row[name] for row in rows.values()) / len(rows) for name in common}

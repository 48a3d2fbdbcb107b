"""Groups of online runs that learn together, while each acts in environments of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.program import NotStackable
from offlinekit.core.populations.run_groups import BY_LOSSES, Group, StackedRuns
from offlinekit.core.populations.stack import bind, release
from offlinekit.core.populations.stacked_sampling import SeparateSamplers
from offlinekit.errors import TrainingError
from offlinekit.sampling.replay.tree_replay import PrioritizedReplay
from offlinekit.training.engines.engine import CHECK_EVERY
from offlinekit.training.online.online_run import OnlineRun

if TYPE_CHECKING:
    from offlinekit.ground.progress import Progress
    from offlinekit.interfaces import Trainable


class OnlineGroup(Group[OnlineRun], Protocol):
    """Online runs that advance together."""

    def advance(self, bar: Progress) -> dict[int, TrainingError]:
        """Acts and learns for a while, and returns the errors of runs that cannot go on."""

    def separate(self) -> None:
        """Gives each run networks of its own."""


class SingleOnlineRun:
    """A run that acts and learns as usual."""

    def __init__(self, number: int, run: OnlineRun) -> None:
        self.number, self.runs = number, {number: run}

    def advance(self, bar: Progress) -> dict[int, TrainingError]:
        """Acts and learns until something is due and no episode runs."""
        run = self.runs[self.number]
        try:
            if not run.is_playing:
                run.begin()
            run.play(bar)
        except TrainingError as error:
            return {self.number: error}
        return {}

    def sync_members(self, numbers: Collection[int] | None = None) -> None:
        """Does nothing: the algorithm itself was trained."""

    def separate(self) -> None:
        """Does nothing: its networks are its own."""


class StackedOnlineRuns:
    """Runs of one structure whose updates are one program, once all have updates due.

    A run acts only while none of its updates is due, so each is taken on the rows and by the policy with which the run
    alone would take it. One that went on from fewer updates than others takes those that it lacks by itself.

    Args:
        runs: By their numbers.
        stacks: What makes their stack, with the first common update.
    """

    def __init__(self, runs: Mapping[int, OnlineRun], stacks: KeptStacks) -> None:
        self.runs, self.stacks = runs, stacks
        self.stack: StackedRuns | None = None
        self.unchecked = 0

    def advance(self, bar: Progress) -> dict[int, TrainingError]:
        """Takes a step of each run without updates due, and the updates that are due in all.

        Raises:
            NotStackable: If the losses cannot be one program; no update of it is taken then.
        """
        failures: dict[int, TrainingError] = {}
        newest = max(run.algo.grad_step for run in self.runs.values())
        with next(iter(self.runs.values())).engine.settings():
            for number, run in self.runs.items():
                before = run.clock
                try:
                    _take_step(run, newest)
                except TrainingError as error:
                    failures[number] = error
                bar.advance(run.clock - before)
            if not failures and all(run.algo.grad_step == newest for run in self.runs.values()):
                self._learn(min(run.n_due for run in self.runs.values()))
        if failures or self.unchecked >= CHECK_EVERY or not all(run.is_playing for run in self.runs.values()):
            failures = {**self._report(), **failures}
        return failures

    def sync_members(self, numbers: Collection[int] | None = None) -> None:
        """Copies the state of the stack to members, to all or to some."""
        if self.stack is not None:
            self.stack.sync_members(numbers)

    def separate(self) -> None:
        """Gives each run networks and metrics of its own."""
        if self.stack is None:
            return
        self._report()
        self.sync_members()
        self.stack = None
        for run in self.runs.values():
            release(run.algo.impl)
            run.before_saving = _nothing
            _renew(run)

    def _learn(self, n_updates: int) -> None:
        if not n_updates:
            return
        if self.stack is None:
            self._make_stack()
        assert self.stack is not None  # For the type checker; just made.
        taken = self.stack.take(n_updates, lambda: False)
        self.unchecked += taken
        for run in self.runs.values():
            run.n_due -= taken
            run.algo.impl.grad_step = self.stack.whole.grad_step

    def _make_stack(self) -> None:
        self.stack = StackedRuns(self.runs, self.stacks, of_own_rows)
        bind(self.stack.whole, self.stack.impls)
        for number, run in self.runs.items():
            run.before_saving = _syncing(self.stack, number)
            _renew(run)

    def _report(self) -> dict[int, TrainingError]:
        """Gives members their metrics, and returns the errors of those that cannot go on."""
        self.unchecked = 0
        failures: dict[int, TrainingError] = {}
        if self.stack is not None:
            self.stack.sum_up()
            failures = self.stack.report()
        for number, run in self.runs.items():
            try:
                run.engine.sum_up()  # Of updates that it took by itself.
            except TrainingError as error:
                failures[number] = error
        return failures


def of_own_rows(algos: Sequence[Trainable]) -> SeparateSamplers:
    """Returns what draws for each member from its own rows.

    Raises:
        NotStackable: For members that draw by losses, or learn what they need of all rows.
    """
    samplers = [algo.sampler for algo in algos if algo.sampler is not None]
    if any(isinstance(sampler, PrioritizedReplay) for sampler in samplers):
        raise NotStackable(BY_LOSSES)
    if algos[0].impl.learns_whole_dataset:
        raise NotStackable("each member keeps what it learned of all its rows for itself")
    return SeparateSamplers(samplers)


def _take_step(run: OnlineRun, newest: int) -> None:
    """Takes a step of a run if none of its updates is due, and updates that it lacks to those of others."""
    if not run.is_playing:
        run.begin()
        run.engine.begin()
    if not run.n_due:
        run.act()
    lacking = min(newest - run.algo.grad_step, run.n_due)
    if lacking > 0:
        run.learn(lacking)


def _renew(run: OnlineRun) -> None:
    """Lets a run that plays act by networks that have moved in memory."""
    if run.is_playing:
        run.engine.begin()


def _syncing(stack: StackedRuns, number: int) -> Callable[[], None]:
    """Returns a function that copies the state of a stack to one member."""
    return lambda: stack.sync_members([number])


def _nothing() -> None:
    """Does nothing: the run has its own state."""

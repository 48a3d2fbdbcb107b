"""Groups of runs that advance together: a stack of several, or one run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.program import NotStackable
from offlinekit.core.populations.stack import unstack
from offlinekit.core.populations.stacked_sampling import Shareable, StackedSampler
from offlinekit.errors import TrainingError
from offlinekit.events import get_logger
from offlinekit.nn.isolation import trainable
from offlinekit.sampling.priorities import PrioritySampler
from offlinekit.training.engines.engine import Engine
from offlinekit.training.run import Run

log = get_logger()


class RunGroup(Protocol):
    """Runs, by their numbers, that take their updates together."""

    runs: dict[int, Run]

    def advance(self, n_updates: int, stop: Callable[[], bool]) -> dict[int, TrainingError]:
        """Takes up to `n_updates` updates and returns the errors of runs that cannot go on."""

    def sync_members(self) -> None:
        """Updates the algorithms of the runs."""


class SingleRun:
    """A run that trains as usual."""

    def __init__(self, number: int, run: Run) -> None:
        self.number, self.run = number, run
        self.runs = {number: run}

    def advance(self, n_updates: int, stop: Callable[[], bool]) -> dict[int, TrainingError]:
        """Takes updates of the run."""
        try:
            self.run.take(n_updates, stop)
        except TrainingError as error:
            return {self.number: error}
        return {}

    def sync_members(self) -> None:
        """Does nothing: the algorithm itself was trained."""


class StackedRuns(Engine):
    """Runs of one structure whose updates are one program; each run's engine gets the metrics of its member.

    Args:
        runs: By their numbers.
        stacks: What makes their stack.

    Raises:
        NotStackable: If the losses cannot be one program.
    """

    def __init__(self, runs: dict[int, Run], stacks: KeptStacks) -> None:
        self.runs = runs
        algos = [run.algo for run in runs.values()]
        self.impls = [algo.impl for algo in algos]
        samplers = [algo.sampler for algo in algos if isinstance(algo.sampler, Shareable)]
        if len(samplers) < len(algos):
            raise NotStackable("its sampler draws no rows that one gather could fetch for all members")
        if any(isinstance(sampler, PrioritySampler) for sampler in samplers):
            raise NotStackable("each member draws rows by its own losses")
        sampler = StackedSampler(samplers)
        for algo in algos:
            algo.in_run = "population"
        self.whole = stacks.stack(algos, sampler)
        first = next(iter(runs.values())).engine
        super().__init__(self.whole, sampler, "eager", first.precision, first.deterministic)

    def advance(self, n_updates: int, stop: Callable[[], bool]) -> dict[int, TrainingError]:
        """Takes updates of the stack."""
        self.run(n_updates, stop)
        for impl in self.impls:
            impl.grad_step = self.whole.grad_step
        finite = all(bool(total.isfinite().all()) for total in self.sums.values())
        self._hand_out()
        return {} if finite else self._failures()

    def sync_members(self) -> None:
        """Copies the state of the stack to the members."""
        unstack(self.whole, self.impls)

    def _hand_out(self) -> None:
        """Adds each member's metrics to those of its own engine."""
        engines = [run.engine for run in self.runs.values()]
        for name, totals in self.sums.items():
            for engine, total in zip(engines, totals.unbind(), strict=True):
                engine.sums[name] = engine.sums.get(name, torch.zeros_like(total)) + total
                engine.counts[name] = engine.counts.get(name, 0) + self.counts[name]
        self.sums, self.counts = {}, {}

    def _failures(self) -> dict[int, TrainingError]:
        failures = {}
        for number, run in self.runs.items():
            try:
                run.engine._check_finite()
            except TrainingError as error:
                failures[number] = error
        return failures

    def _check_finite(self) -> None:
        """Does nothing: the members check their metrics."""


@trainable()
def make_run_groups(runs: dict[int, Run], stacks: KeptStacks) -> list[RunGroup]:
    """Returns what advances runs of one structure: a stack, or each alone if there is none."""
    if len(runs) > 1:
        try:
            return [StackedRuns(runs, stacks)]
        except NotStackable as error:
            name = type(next(iter(runs.values())).algo).__name__
            log.info("population not stacked", algo=name, members=list(runs), reason=str(error))
    return [SingleRun(number, run) for number, run in runs.items()]

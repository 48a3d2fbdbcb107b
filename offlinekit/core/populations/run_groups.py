"""Groups of runs that advance together: a stack of several, or one run alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.program import NotStackable
from offlinekit.core.populations.stack import unstack
from offlinekit.core.populations.stacked_sampling import Shareable, StackedSampler, StackedSource
from offlinekit.errors import TrainingError
from offlinekit.events import get_logger
from offlinekit.nn.isolation import trainable
from offlinekit.sampling.priorities import PrioritySampler
from offlinekit.training.engines.engine import Engine, matmul_precision
from offlinekit.training.run import Run

if TYPE_CHECKING:
    from offlinekit.interfaces import Trainable

log = get_logger()

BY_LOSSES = "each member draws rows by its own losses"
"""Why members whose rows have priorities are no stack."""


R = TypeVar("R", bound=Run, covariant=True)


class Group(Protocol[R]):
    """Runs that advance together."""

    @property
    def runs(self) -> Mapping[int, R]:
        """The runs by their numbers."""

    def sync_members(self, numbers: Collection[int] | None = None) -> None:
        """Updates the algorithms of the runs, of all or of some."""


class RunGroup(Group[Run], Protocol):
    """Runs on a dataset that take their updates together."""

    def advance(self, n_updates: int, stop: Callable[[], bool]) -> dict[int, TrainingError]:
        """Takes up to `n_updates` updates and returns the errors of runs that cannot go on."""


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

    def sync_members(self, numbers: Collection[int] | None = None) -> None:
        """Does nothing: the algorithm itself was trained."""


class StackedRuns(Engine):
    """Runs of one structure whose updates are one program; each run's engine gets the metrics of its member.

    Args:
        runs: By their numbers.
        stacks: What makes their stack.
        draw: Makes what draws the minibatches of all members; raises NotStackable if it cannot.

    Raises:
        NotStackable: If the losses cannot be one program.
    """

    def __init__(
        self,
        runs: Mapping[int, Run],
        stacks: KeptStacks,
        draw: Callable[[Sequence[Trainable]], StackedSource] | None = None,
    ) -> None:
        self.runs = dict(runs)
        algos = [run.algo for run in runs.values()]
        self.impls = [algo.impl for algo in algos]
        sampler = (draw or of_shared_rows)(algos)
        for algo in algos:
            algo.in_run = "population"
        first = next(iter(runs.values())).engine
        with matmul_precision(first.precision):  # A program holds the products that it was recorded with.
            self.whole = stacks.stack(algos, sampler)
        super().__init__(self.whole, sampler, "eager", first.precision, first.deterministic)

    def advance(self, n_updates: int, stop: Callable[[], bool]) -> dict[int, TrainingError]:
        """Takes updates of the stack."""
        self.run(n_updates, stop)
        return self.report()

    def report(self) -> dict[int, TrainingError]:
        """Gives members the count of updates and their metrics, and returns the errors of those that cannot go on."""
        for impl in self.impls:
            impl.grad_step = self.whole.grad_step
        finite = all(bool(total.isfinite().all()) for total in self.sums.values())
        self._hand_out()
        return {} if finite else self._failures()

    def sync_members(self, numbers: Collection[int] | None = None) -> None:
        """Copies the state of the stack to members, to all or to some."""
        for place, (number, impl) in enumerate(zip(self.runs, self.impls, strict=True)):
            if numbers is None or number in numbers:
                unstack(self.whole, impl, place)

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


def of_shared_rows(algos: Sequence[Trainable]) -> StackedSampler:
    """Returns what draws for all members from columns that they share.

    Raises:
        NotStackable: For samplers that draw no rows by their numbers, or by losses.
    """
    samplers = [algo.sampler for algo in algos if isinstance(algo.sampler, Shareable)]
    if len(samplers) < len(algos):
        raise NotStackable("its sampler draws no rows that one gather could fetch for all members")
    if any(isinstance(sampler, PrioritySampler) for sampler in samplers):
        raise NotStackable(BY_LOSSES)
    return StackedSampler(samplers)


@trainable()
def make_run_groups(runs: dict[int, Run], stacks: KeptStacks) -> list[RunGroup]:
    """Returns what advances runs of one structure: a stack, or each alone if there is none."""
    if len(runs) > 1:
        try:
            return [StackedRuns(runs, stacks)]
        except NotStackable as error:
            log_refusal(runs, error)
    return [SingleRun(number, run) for number, run in runs.items()]


def log_refusal(runs: Mapping[int, Run], error: NotStackable) -> None:
    """Logs why members train one after another."""
    name = type(next(iter(runs.values())).algo).__name__
    log.info("population not stacked", algo=name, members=list(runs), reason=str(error))

"""The graph engine of the CPU: what each objective computes is recorded, checked once and replayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import starmap
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from offlinekit.events import get_logger
from offlinekit.interfaces import BatchSource
from offlinekit.training.engines.kernel_recording import Recording
from offlinekit.training.engines.tape import NotRecordableError, Tape, tensors_in
from offlinekit.training.engines.updates import (
    Eager,
    Evaluated,
    Minimized,
    StaticBatch,
    Updatable,
    UpdateResult,
)

if TYPE_CHECKING:
    from offlinekit.sampling.batch import Minibatch

log = get_logger()

RECORD_AT = 10
"""Which evaluation is recorded; a run of fewer would gain nothing."""


class RecordedUpdates(Eager):
    """Updates whose objectives are replayed, on batches that all lie where the first one lay."""

    def __init__(self, impl: Updatable, sampler: BatchSource) -> None:
        super().__init__(impl, sampler)
        self.placed = StaticBatch(sampler)
        self.replayed: list[RecordedObjective] = []

    def start(self) -> None:
        """Sets the objectives that are replayed, recorded anew if what they stand for has changed."""
        if self.changed():
            objectives = self.impl.objectives
            always = all(objective.is_always_due for objective in objectives)
            self.replayed = []
            for objective in objectives:
                self.replayed.append(
                    RecordedObjective(objective, self.impl, list(self.replayed) if always else [])
                )
        for objective, replayed in zip(self.impl.objectives, self.replayed, strict=True):
            objective.evaluate = replayed

    def take(self, limit: int) -> UpdateResult:
        """Takes one update."""
        metrics = self.impl.update(self.placed.sample())
        taped = [replayed for replayed in self.replayed if replayed.tape is not None]
        if taped:
            _build(taped)
        for replayed in taped:
            replayed.tape = None
        return UpdateResult(1, metrics, dict.fromkeys(metrics, 1))


class RecordedObjective:
    """The gradients and metrics of one objective, after a while without Python.

    The first evaluations are ordinary. One is recorded, and the next is made both ways, with the same random
    numbers; if both give the same bits the recording is replayed from then on, else the objective stays as written.

    Args:
        objective: What is evaluated.
        impl: Whose objective it is; a loss may change its buffers, such as running means, and nothing else.
        earlier: Those that precede it in each update; numbers that they have made are not made again.
    """

    def __init__(
        self, objective: Minimized, impl: Updatable, earlier: Sequence[RecordedObjective] = ()
    ) -> None:
        self.objective, self.impl, self.earlier = objective, impl, earlier
        self.tape: Tape | None = None  # From when it is recorded to the end of that update.
        self.evaluated: Evaluated = ((), {})
        self.recording: Recording[Evaluated] | None = None
        self.evaluations = 0
        self.checked = self.refused = False

    def __call__(self, batch: Minibatch) -> Evaluated:
        """Returns gradients, which the next call overwrites, and metrics."""
        if self.checked:
            return self._replay()
        self.evaluations += 1
        if self.refused or self.evaluations < RECORD_AT:
            return self.objective.gradients(batch)
        return self._record(batch) if self.recording is None else self._check(batch)

    def _replay(self) -> Evaluated:
        assert self.recording is not None  # For the type checker: `checked` says so.
        gradients, metrics = self.recording.replay()
        return gradients, {name: value.clone() for name, value in metrics.items()}

    def _record(self, batch: Minibatch) -> Evaluated:
        """Evaluates and records."""
        before = self._snapshot()
        try:
            tapes = [other.tape for other in self.earlier if other.tape is not None]
            moved = [p for other in self.earlier for p in other.objective.parameters]
            with uncounted(self.impl), Tape(tapes, moved) as self.tape:
                self.evaluated = self.objective.gradients(batch)
            return self.evaluated
        except (AttributeError, NotImplementedError, RuntimeError) as error:
            self.refuse(str(error))
        self._restore(before)
        return self.objective.gradients(batch)

    def build(self, kept: Sequence[Tensor]) -> None:
        """Makes the recording of the tape, in which memory that later ones read is left alone.

        Raises:
            NotRecordableError: If the loss did what a replay cannot repeat.
        """
        assert self.tape is not None  # For the type checker, as below.
        held = [other.recording for other in self.earlier if other.recording is not None]
        self.recording = Recording(self.tape, self.evaluated, self.impl.buffers(), kept, held)

    def _check(self, batch: Minibatch) -> Evaluated:
        if any(other.refused for other in self.earlier):
            self.refuse("an objective before it, whose numbers it reads, stays eager")
            return self.objective.gradients(batch)
        before = self._snapshot()
        expected = self.objective.gradients(batch)
        after = self._snapshot()
        self._restore(before)
        try:
            replayed = self._replay()
        except RuntimeError as error:
            self._restore(after)
            self.refuse(str(error))
            return expected
        pairs = zip(tensors_in((replayed, self._snapshot())), tensors_in((expected, after)), strict=True)
        self.checked = all(starmap(torch.equal, pairs))
        if not self.checked:
            self._restore(after)
            self.refuse(
                "a replay gave other numbers; a loss must depend on networks, batch and self.random alone"
            )
        return expected

    def _snapshot(self) -> tuple[Tensor, list[Tensor]]:
        return self.impl.random.state(), [tensor.clone() for tensor in self.impl.buffers()]

    def _restore(self, snapshot: tuple[Tensor, list[Tensor]]) -> None:
        self.impl.random.set_state(snapshot[0])
        for tensor, value in zip(self.impl.buffers(), snapshot[1], strict=True):
            tensor.copy_(value)

    def refuse(self, reason: str) -> None:
        """Makes the objective evaluate as it is written."""
        self.tape, self.recording, self.refused = None, None, True
        log.warning("objective stays eager", objective=self.objective.name, reason=reason)


@contextmanager
def uncounted(impl: Updatable) -> Iterator[None]:
    """Leaves an impl without its count of updates, which a recording cannot look at, for it changes."""
    steps = impl.grad_step, impl.horizon
    del impl.grad_step, impl.horizon
    try:
        yield
    finally:
        impl.grad_step, impl.horizon = steps


def _build(taped: Sequence[RecordedObjective]) -> None:
    """Makes the recordings of one update: together, or each by itself if one of them cannot be made."""
    tapes = [replayed.tape for replayed in taped if replayed.tape is not None]
    try:
        if all(tape.shares() for tape in tapes):
            for i, replayed in enumerate(taped):
                later = zip(tapes[i + 1 :], taped[i + 1 :], strict=True)
                replayed.build([tensor for tape, other in later for tensor in tape.borrowed(other.evaluated)])
            return
    except NotRecordableError:
        pass
    for tape, replayed in zip(tapes, taped, strict=True):
        tape.forget()
        try:
            replayed.build(())
        except NotRecordableError as error:
            replayed.refuse(str(error))

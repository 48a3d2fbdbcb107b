"""The graph engine of the CPU: what each objective computes is recorded, checked once and replayed."""

from __future__ import annotations

from itertools import starmap

import torch
from torch import Tensor

from offlinekit.events import get_logger
from offlinekit.training.recording import NotRecordableError, Recording, Tape, tensors_in
from offlinekit.training.updates import Eager, Evaluated, Minimized, Placed, Samples, Taken, Updatable
from offlinekit.types import Batch

log = get_logger()

RECORD_AT = 10
"""Which evaluation is recorded; a run of fewer would gain nothing."""


class Replays(Eager):
    """Updates whose objectives are replayed, on batches that all lie where the first one lay."""

    def __init__(self, impl: Updatable, sampler: Samples) -> None:
        super().__init__(impl, sampler)
        self.placed = Placed()
        self.replayed: list[Replayed] = []

    def start(self) -> None:
        """Sets the objectives that are replayed, recorded anew where what they stand for has changed."""
        if self.changed():
            self.replayed = [Replayed(objective, self.impl) for objective in self.impl.objectives]
        for objective, replayed in zip(self.impl.objectives, self.replayed, strict=True):
            objective.evaluate = replayed

    def take(self, limit: int) -> Taken:
        """Takes one update."""
        metrics = self.impl.update(self.placed.put(self.sampler.sample()))
        return Taken(1, metrics, dict.fromkeys(metrics, 1))


class Replayed:
    """The gradients and metrics of one objective, after a while without Python.

    The first evaluations are ordinary. One is recorded, and the next is made both ways, with the same random
    numbers; where both give the same bits the recording is replayed from then on, else the objective stays as written.

    Args:
        objective: What is evaluated.
        impl: Whose objective it is; a loss may change its buffers, such as running means, and nothing else.
    """

    def __init__(self, objective: Minimized, impl: Updatable) -> None:
        self.objective, self.impl = objective, impl
        self.recording: Recording | None = None
        self.evaluations = 0
        self.checked = self.refused = False

    def __call__(self, batch: Batch) -> Evaluated:
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

    def _record(self, batch: Batch) -> Evaluated:
        """Evaluates and records; meanwhile the impl has no count of updates to look at, for it changes."""
        impl, before = self.impl, self._snapshot()
        steps = impl.grad_step, impl.horizon
        del impl.grad_step, impl.horizon
        try:
            with Tape() as tape:
                evaluated = self.objective.gradients(batch)
            self.recording = Recording(tape, evaluated, impl.buffers())
        except (NotRecordableError, AttributeError, NotImplementedError, RuntimeError) as error:
            self._refuse(str(error))
        finally:
            impl.grad_step, impl.horizon = steps
        if self.recording is None:
            self._restore(before)
            return self.objective.gradients(batch)
        return evaluated

    def _check(self, batch: Batch) -> Evaluated:
        before = self._snapshot()
        expected = self.objective.gradients(batch)
        after = self._snapshot()
        self._restore(before)
        try:
            found = self._replay()
        except RuntimeError as error:
            self._restore(after)
            self._refuse(str(error))
            return expected
        pairs = zip(tensors_in((found, self._snapshot())), tensors_in((expected, after)), strict=True)
        self.checked = all(starmap(torch.equal, pairs))
        if not self.checked:
            self._restore(after)
            self._refuse(
                "a replay gave other numbers; a loss must depend on networks, batch and self.random alone"
            )
        return expected

    def _snapshot(self) -> tuple[Tensor, list[Tensor]]:
        return self.impl.random.state(), [tensor.clone() for tensor in self.impl.buffers()]

    def _restore(self, snapshot: tuple[Tensor, list[Tensor]]) -> None:
        self.impl.random.set_state(snapshot[0])
        for tensor, value in zip(self.impl.buffers(), snapshot[1], strict=True):
            tensor.copy_(value)

    def _refuse(self, reason: str) -> None:
        self.recording, self.refused = None, True
        log.warning("objective stays eager", objective=self.objective.name, reason=reason)

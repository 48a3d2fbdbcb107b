"""One update after another: as written, or with each objective compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from offlinekit.interfaces import BatchSource, Trainable
from offlinekit.sampling.batch import Metrics, Minibatch
from offlinekit.training.optimizers import Optimizer
from offlinekit.types import Tree, leaves, map_tree

Evaluated: TypeAlias = "tuple[Sequence[Tensor | None], Metrics]"
"""Gradients, None if there is none, and metrics."""
Evaluate: TypeAlias = Callable[[Minibatch], Evaluated]
PLAIN = (bool, int, float, str, tuple, type(None))
"""Types of a front's own attributes by which a recording is made anew."""


class Draws(Protocol):
    """An agent's random numbers, as engines use them."""

    generator: torch.Generator

    def state(self) -> Tensor:
        """Returns the state of the stream."""

    def set_state(self, state: Tensor) -> None:
        """Restores a state."""

    def prepare_compiling(self) -> None:
        """Makes draws a kernel like any other for torch.compile, which does not support generators."""


class Minimized(Protocol):
    """An objective, as engines use it."""

    name: str
    optimizer: Optimizer
    evaluate: Evaluate | None
    combine: Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]] | None

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The parameters that it alone changes."""

    @property
    def is_always_due(self) -> bool:
        """Whether every update minimises it."""

    @property
    def has_constant_rate(self) -> bool:
        """Whether every update has the same learning rate."""

    def is_due(self, step: int) -> bool:
        """Returns whether the update of a number minimises it."""

    def gradients(self, batch: Minibatch) -> Evaluated:
        """Returns gradients and metrics of a batch."""


class Updatable(Protocol):
    """An impl, as engines use it."""

    grad_step: int
    horizon: int
    schedule_start: int
    device: torch.device
    config: Trainable

    @property
    def objectives(self) -> Sequence[Minimized]:
        """The losses that an update minimises, in order."""

    @property
    def targets(self) -> Sequence[Any]:
        """The targets that follow the networks."""

    @property
    def random(self) -> Draws:
        """The agent's random numbers."""

    def update(self, batch: Minibatch) -> Metrics:
        """Takes one update: `begin_update`, then `apply_update`."""

    def begin_update(self) -> None:
        """Counts the update and sets its learning rates, on the host."""

    def apply_update(self, batch: Minibatch) -> Metrics:
        """Minimises what is due and moves targets, on the device."""

    def train(self, mode: bool = True) -> object:
        """Switches to training or evaluation."""

    def parameters(self) -> Iterator[Tensor]:
        """Yields what is learned."""

    def buffers(self) -> Iterator[Tensor]:
        """Yields what a loss may change, such as running means."""


class UpdateResult(NamedTuple):
    """The result of some updates.

    Attributes:
        updates: How many.
        sums: Of each metric over them.
        counts: In how many of them each metric was measured.
    """

    updates: int
    sums: Metrics
    counts: dict[str, int]


class Updates(Protocol):
    """A way of taking updates; only it changes the impl between `start` and `stop`."""

    def start(self) -> None:
        """Gets ready."""

    def take(self, limit: int) -> UpdateResult:
        """Takes a few updates, at most `limit`."""

    def stop(self) -> None:
        """Restores the impl to how it was."""


class Eager:
    """Updates as they are written."""

    def __init__(self, impl: Updatable, sampler: BatchSource) -> None:
        self.impl, self.sampler = impl, sampler
        self.found: tuple[list[int], str] = [], ""

    def start(self) -> None:
        """Gets ready."""

    def changed(self) -> bool:
        """Returns whether networks have moved in memory or hyperparameters have changed since the last call."""
        before, self.found = self.found, recording_key(self.impl)
        return before != self.found

    def take(self, limit: int) -> UpdateResult:
        """Takes one update."""
        metrics = self.impl.update(self.sampler.sample())
        return UpdateResult(1, metrics, dict.fromkeys(metrics, 1))

    def stop(self) -> None:
        """Makes each objective evaluate itself again."""
        for objective in self.impl.objectives:
            objective.evaluate = None


class Compiled(Eager):
    """Updates whose losses and gradients went through torch.compile; the first ones take long."""

    def __init__(self, impl: Updatable, sampler: BatchSource) -> None:
        super().__init__(impl, sampler)
        impl.random.prepare_compiling()
        self.compiled = [torch.compile(objective.gradients, dynamic=False) for objective in impl.objectives]
        self.settings = ExitStack()

    def start(self) -> None:
        """Sets the compiled objectives, and makes their gradients visible to the compiler until `stop`."""
        import torch._dynamo  # Here, since the import takes a second.

        self.settings.enter_context(torch._dynamo.config.patch(trace_autograd_ops=True))
        for objective, evaluate in zip(self.impl.objectives, self.compiled, strict=True):
            objective.evaluate = evaluate

    def stop(self) -> None:
        """Makes each objective evaluate itself again."""
        self.settings.close()
        super().stop()


class StaticBatch:
    """Minibatches that all lie where the first one lay.

    Args:
        sampler: Of the minibatches.
    """

    def __init__(self, sampler: BatchSource) -> None:
        self.sampler = sampler
        self.refill: Callable[[Minibatch], bool] | None = getattr(sampler, "refill", None)
        self.batch: Minibatch | None = None

    def sample(self) -> Minibatch:
        """Draws the next minibatch and returns it at its place."""
        if self.batch is not None and self.refill is not None and self.refill(self.batch):
            return self.batch
        batch = self.sampler.sample()
        if self.batch is None:
            self.batch = batch if self.refill is not None else type(batch)(*map_tree(_cloned, tuple(batch)))
        places, values = tensors_of(self.batch), tensors_of(batch)
        torch._foreach_copy_(places, values)
        return self.batch


def recording_key(impl: Updatable) -> tuple[list[int], str]:
    """Returns what a recording depends on: where networks lie in memory, hyperparameters, and a front's own values."""
    tensors = [*impl.parameters(), *impl.buffers()]
    return [tensor.data_ptr() for tensor in tensors], repr(impl.config) + repr(_own_values(impl.config))


def _own_values(config: object) -> dict[str, object]:
    """Returns the numbers, texts and tuples that a front has as attributes; lists may be records, which grow."""
    return {name: value for name, value in getattr(config, "__dict__", {}).items() if type(value) in PLAIN}


def tensors_of(batch: Minibatch) -> list[Tensor]:
    """Returns the tensors of a batch, in order."""
    fields: Tree[Any] = tuple(batch)
    return [leaf for leaf in leaves(fields) if leaf is not None]


def _cloned(leaf: Tensor | None) -> Tensor | None:
    """Returns a copy with the same strides, by which kernels may choose the order of their sums."""
    return (
        None
        if leaf is None
        else torch.empty_strided(leaf.shape, leaf.stride(), dtype=leaf.dtype, device=leaf.device).copy_(leaf)
    )

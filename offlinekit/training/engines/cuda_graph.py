"""The graph engine of a GPU: a few updates captured as one CUDA graph, from drawing the batch to the targets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

import torch

from offlinekit.errors import OfflineKitError
from offlinekit.events import get_logger
from offlinekit.interfaces import BatchSource
from offlinekit.sampling.batch import Metrics
from offlinekit.training.engines.updates import Eager, StaticBatch, Updatable, UpdateResult

log = get_logger()

WARM_UP = 3
"""Ordinary updates before the first capture, in which libraries allocate what they need."""

WINDOW = 8
"""Updates in one graph."""

Due: TypeAlias = tuple[bool, ...]
"""Which objectives and which targets one update moves."""


class Window(NamedTuple):
    """A captured window of updates and what each replay of it leaves on the device."""

    graph: torch.cuda.CUDAGraph
    sums: Metrics
    counts: dict[str, int]


class CudaGraphUpdates(Eager):
    """Updates in windows, each a CUDA graph that is captured when its pattern of delayed updates first comes.

    Random numbers, batches too, are drawn inside the graph, anew at each replay. If a sampler cannot draw
    there, or learning rates change, a window is one update. What cannot be captured stays as it is written.
    """

    def __init__(self, impl: Updatable, sampler: BatchSource) -> None:
        super().__init__(impl, sampler)
        self.placed = StaticBatch(sampler)
        self.windows: dict[tuple[Due, ...], Window] = {}
        self.warm_up, self.refused = WARM_UP, False
        self.pool = torch.cuda.graph_pool_handle()
        generator = getattr(sampler, "generator", None)
        self.draws_inside = isinstance(generator, torch.Generator)
        self.generators = [impl.random.generator, *([generator] if self.draws_inside else [])]
        scheduled = [objective for objective in impl.objectives if not objective.has_constant_rate]
        self.longest = WINDOW if self.draws_inside and not scheduled else 1
        for objective in scheduled:
            optimizer = objective.optimizer
            optimizer.learning_rate = torch.tensor(
                float(optimizer.learning_rate), device=impl.device, dtype=torch.float32
            )

    def start(self) -> None:
        """Drops graphs if what they recorded has changed."""
        if self.changed():
            self.windows = {}

    def take(self, limit: int) -> UpdateResult:
        """Takes the updates of one window."""
        if self.refused or self.warm_up:
            with _beside():
                self.warm_up = max(self.warm_up - 1, 0)
                return super().take(limit)
        length = self.longest if limit >= self.longest else 1
        if not self.draws_inside:
            self.placed.sample()
        first = self.impl.grad_step + 1
        pattern = tuple(self._due(step) for step in range(first, first + length))
        window = self.windows.get(pattern) or self._captured(length)
        if window is None:
            return super().take(limit)
        self.windows[pattern] = window
        self.impl.begin_update()
        window.graph.replay()
        self.impl.grad_step = first + length - 1
        return UpdateResult(
            length, {name: value.clone() for name, value in window.sums.items()}, window.counts
        )

    def _due(self, step: int) -> Due:
        delayed = (*self.impl.objectives, *self.impl.targets)
        return tuple(objective.is_due(step) for objective in delayed)

    def _captured(self, length: int) -> Window | None:
        """Captures the next updates without taking them, or returns None if that cannot be done."""
        impl, before = self.impl, self.impl.grad_step
        window = Window(torch.cuda.CUDAGraph(), {}, {})
        for generator in self.generators:
            window.graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(window.graph, pool=self.pool):
                for step in range(before + 1, before + length + 1):
                    impl.grad_step = step
                    batch = self.sampler.sample() if self.draws_inside else self.placed.batch
                    assert batch is not None  # For the type checker: `take` has put one.
                    for name, value in impl.apply_update(batch).items():
                        window.sums[name] = window.sums[name] + value if name in window.sums else value
                        window.counts[name] = window.counts.get(name, 0) + 1
        except (RuntimeError, OfflineKitError) as error:
            self.refused = True
            log.warning("updates stay eager", reason=f"they cannot be captured as a CUDA graph: {error}")
            return None
        finally:
            impl.grad_step = before
        return window


@contextmanager
def _beside() -> Iterator[None]:
    """Runs on a stream beside the main one, as CUDA requires before a capture."""
    main = torch.cuda.current_stream()
    beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # Of torch.
    beside.wait_stream(main)
    with torch.cuda.stream(beside):
        yield
    main.wait_stream(beside)

"""Losses and gradients of a whole stack as one flat list of tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx

from offlinekit.core.populations.kernel_graph import kernel_graph
from offlinekit.core.populations.simplify import simplify
from offlinekit.errors import OfflineKitError
from offlinekit.nn.random import Random
from offlinekit.training.engines.kernel_recording import Recording
from offlinekit.training.engines.rounded_products import rounded_products
from offlinekit.training.engines.tape import NotRecordableError, Tape

FUNCTIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.aten.randn: torch.randn,
    torch.ops.aten.rand: torch.rand,
}


class NotStackable(OfflineKitError):
    """Losses that cannot be one program; their members train one after another."""


class Draw(NamedTuple):
    """Random numbers that a program takes as an input."""

    function: Callable[..., Tensor]
    shape: tuple[int, ...]  # Of all members: [M, ...].


class Unseeded(Random):
    """Stands in for a member's random numbers while its losses are traced; a program draws no number itself."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.generator: Any = None

    def state(self) -> Tensor:
        """Returns nothing: the state is that of the members."""
        return torch.empty(0, dtype=torch.uint8)

    def set_state(self, state: Tensor) -> None:
        """Does nothing."""


class Program:
    """A function of stacked tensors, recorded once and run without Python objects in between.

    On the CPU the recording is replayed as kernels that write into memory of their own.

    Each random number in the recording becomes an input that is drawn, member by member, from the members' own
    generators: the numbers each would draw alone, in the same order.

    Args:
        function: Takes and returns flat lists of tensors; draws random numbers of shape [M, ...].
        state: Its first arguments, tensors that are changed in place.
        batch: Its other arguments, an example of what each call brings.
        randoms: The members' random numbers.

    Raises:
        NotStackable: If the function cannot be recorded.
    """

    def __init__(
        self,
        function: Callable[..., list[Any]],
        state: Sequence[Tensor],
        batch: Sequence[Tensor],
        randoms: Sequence[Random],
    ) -> None:
        example = [*(tensor.detach().clone() for tensor in state), *batch]
        self.graph, self.constants = _traced(function, example)
        self.draws = _lift_draws(self.graph, len(randoms))
        simplify(self.graph)
        self.state, self.batch = list(state), [tensor.clone() for tensor in batch]
        device = randoms[0].device
        self.noise = [torch.empty(draw.shape, device=device, dtype=torch.float32) for draw in self.draws]
        rows = [noise.unbind() for noise in self.noise]
        self.fills = [
            (draw.function, draw.shape[1:], random.generator, own[member])
            for member, random in enumerate(randoms)
            for draw, own in zip(self.draws, rows, strict=True)
        ]
        self.recording = self._recording() if device.type == "cpu" else None

    @cached_property
    def call(self) -> Callable[..., list[Any]]:
        """The graph, compiled to Python."""
        return fx.GraphModule(self.constants, self.graph).forward

    def _recording(self) -> Recording[list[Tensor]] | None:
        """Returns the kernels of the program, or None if they cannot be replayed; changes no state."""
        before = [tensor.clone() for tensor in self.state]
        constants = torch.nn.Module()
        constants.__dict__.update(self.constants)
        once = fx.Interpreter(constants, graph=self.graph)  # For a single call it is not worth to compile.
        with torch.no_grad(), Tape() as tape, rounded_products():
            outputs = once.run(*self.noise, *self.state, *self.batch)
        with torch.no_grad():
            for tensor, value in zip(self.state, before, strict=True):
                tensor.copy_(value)
        try:
            return Recording(tape, outputs, self.state)
        except NotRecordableError:
            return None

    def __call__(self, batch: Sequence[Tensor]) -> list[Any]:
        """Runs the program without recording gradients; they are among what it returns.

        The next call may write into the same tensors.
        """
        for function, shape, generator, out in self.fills:
            function(shape, generator=generator, out=out)
        torch._foreach_copy_(self.batch, list(batch))
        if self.recording is not None:
            results: list[Any] = self.recording.replay()
            return results
        with torch.no_grad(), rounded_products():
            outputs: list[Any] = self.call(*self.noise, *self.state, *self.batch)
        return outputs


def _traced(
    function: Callable[..., list[Any]], example: Sequence[Tensor]
) -> tuple[fx.Graph, dict[str, Tensor]]:
    devices = [tensor.device for tensor in example[:1] if tensor.device.type == "cuda"]
    try:
        with torch.random.fork_rng(devices=devices):
            return kernel_graph(function, example)
    except Exception as error:  # Whatever the losses do that vmap or the recording refuses.
        raise NotStackable(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error


def _lift_draws(graph: fx.Graph, n_members: int) -> list[Draw]:
    """Turns each random operation of a graph into an input, first among the inputs, and lists them."""
    first = next(iter(graph.nodes))
    draws: list[Draw] = []
    for node in list(graph.nodes):
        tags = getattr(node.target, "tags", ())
        if torch.Tag.nondeterministic_seeded not in tags:
            continue
        function = FUNCTIONS.get(node.target.overloadpacket)
        shape = tuple(node.meta["val"].shape)
        if function is None or shape[:1] != (n_members,):
            raise NotStackable(f"its losses draw random numbers with {node.target}, not with self.random")
        with graph.inserting_before(first):
            given = graph.placeholder(f"draw_{len(draws)}")
        given.meta = node.meta
        node.replace_all_uses_with(given)
        graph.erase_node(node)
        draws.append(Draw(function, shape))
    return draws

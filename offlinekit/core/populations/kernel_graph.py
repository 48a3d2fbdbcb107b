"""A function of tensors as a graph of the kernels that it calls."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, fx

from offlinekit.nn.dispatch import Dispatch
from offlinekit.training.engines.tape import NotRecordableError, map_tensors, place, refusal

if TYPE_CHECKING:
    from torch._ops import OpOverload


def kernel_graph(
    function: Callable[..., list[Any]], example: Sequence[Tensor]
) -> tuple[fx.Graph, dict[str, Tensor]]:
    """Returns a graph that does what a function does, also with other numbers, and its constants by name.

    Each node that stands for a tensor has one of that layout as `meta["val"]`.

    Args:
        function: Takes tensors, returns a list of tensors and None.
        example: Arguments to call it with; each becomes an input of the graph. Other tensors that the function
            reads and did not make itself become constants.

    Raises:
        NotRecordableError: If the function looked at a number or made a shape of numbers.
    """
    tracer = _Tracer(example)
    with tracer:
        results = function(*example)
    tracer.graph.output(map_tensors(tracer.node, results))
    return tracer.graph, tracer.constants


class _Tracer(Dispatch):
    """Grows a graph by each kernel that is called within it.

    A tensor is known by its memory and its layout there: autograd and vmap detach and wrap tensors, so that one
    and the same comes as several objects. All stay alive in the nodes, so that no memory serves twice.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.constants: dict[str, Tensor] = {}
        self.nodes: dict[Hashable, fx.Node] = {}
        for i, tensor in enumerate(inputs):
            self._show(tensor, self.graph.placeholder(f"input_{i}"))

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Calls the kernel and adds it to the graph."""
        returned = func(*args, **(kwargs or {}))
        reason = refusal(func, args, returned)
        if reason is not None:
            raise NotRecordableError(reason)
        given = map_tensors(self.node, [args, kwargs or {}])
        node = self.graph.call_function(func, tuple(given[0]), given[1])
        if isinstance(returned, Tensor):
            self._show(returned, node)
        elif isinstance(returned, (list, tuple)):
            for i, part in enumerate(returned):
                if isinstance(part, Tensor):
                    self._show(part, self.graph.call_function(operator.getitem, (node, i)))
        return returned

    def node(self, tensor: Tensor) -> fx.Node:
        """Returns the node of a tensor; that of a constant for one which no kernel made."""
        key = _layout(tensor)
        if key not in self.nodes:
            name = f"constant_{len(self.constants)}"
            self.constants[name] = tensor
            self._show(tensor, self.graph.get_attr(name))
        return self.nodes[key]

    def _show(self, tensor: Tensor, node: fx.Node) -> None:
        node.meta["val"] = tensor
        self.nodes[_layout(tensor)] = node


def _layout(tensor: Tensor) -> Hashable:
    return place(tensor), tensor.dtype, tensor.storage_offset(), tensor.shape, tensor.stride()

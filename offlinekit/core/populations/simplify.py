"""Shortens a recorded graph: what vmap and autograd write down beyond the arithmetic.

Each rule keeps the numbers. Shapes and strides are those of the recording, which hold for every run.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

if TYPE_CHECKING:
    from torch._ops import OpOverload

aten = torch.ops.aten
RESHAPES = {aten.view.default, aten._unsafe_view.default}
VIEWS = RESHAPES | {
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
    aten.permute.default,
    aten.select.int,
    aten.slice.Tensor,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.transpose.int,
    aten.unsqueeze.default,
}


def simplify(graph: fx.Graph) -> None:
    """Removes operations of a graph that change nothing, and joins those that are one kernel."""
    for node in graph.nodes:
        if isinstance(node.meta.get("val"), Tensor):
            node.meta["val"] = _layout(node.meta["val"])
    for rule in (_drop_idle_view, _drop_copy, _join_bias, _turn_factors):
        _apply(rule, graph)


def _apply(rule: Callable[[fx.Graph, fx.Node, set[fx.Node]], Any], graph: fx.Graph) -> None:
    """Applies a rule that replaces nodes of a graph."""
    changed = _changed_in_place(graph)
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        with graph.inserting_before(node):
            other = rule(graph, node, changed)
        if other is not None:
            node.replace_all_uses_with(other)
    for node in reversed(graph.nodes):
        if not node.users and node.op == "call_function" and not _changes(node):
            graph.erase_node(node)


def _drop_idle_view(graph: fx.Graph, node: fx.Node, changed: set[fx.Node]) -> object:
    """A view that shows the same -> what it shows."""
    if node.target not in VIEWS:
        return None
    shown, given = _value(node), _value(node.args[0])
    return node.args[0] if (shown.shape, shown.stride()) == (given.shape, given.stride()) else None


def _drop_copy(graph: fx.Graph, node: fx.Node, changed: set[fx.Node]) -> object:
    """x * 1 -> x if neither is changed in place; vmap writes it for the sum of a bias and a product."""
    if node.target != aten.mul.Scalar or node.args[1] != 1:
        return None
    return None if {_owner(node), _owner(node.args[0])} & changed else node.args[0]


def _join_bias(graph: fx.Graph, node: fx.Node, changed: set[fx.Node]) -> fx.Node | None:
    """bias + a b -> one kernel, if the bias is the same for all rows of a product."""
    if node.target != aten.add.Tensor or node.kwargs:
        return None
    bias, sum_of = node.args
    product = _only_reshaped(sum_of)
    if product is None or product.target != aten.bmm.default or not isinstance(bias, fx.Node):
        return None
    blocks, _, columns = _value(product).shape
    added = _value(bias)
    if added.shape[-2:] != (1, columns) or added.shape[:-2].numel() != blocks or not added.is_contiguous():
        return None
    flat = _call(graph, aten.view.default, bias, [blocks, 1, columns])
    joined = _call(graph, aten.baddbmm.default, flat, *product.args)
    return _call(graph, aten.view.default, joined, list(_value(node).shape))


def _turn_factors(graph: fx.Graph, node: fx.Node, changed: set[fx.Node]) -> fx.Node | None:
    """(a' b)' -> b' a, whose memory is in order: the gradient of a weight that is used transposed."""
    if node.target != aten.transpose.int or not _turns(node):
        return None
    product = node.args[0]
    if not isinstance(product, fx.Node) or product.target != aten.bmm.default or len(product.users) > 1:
        return None
    left, right = product.args
    if not isinstance(left, fx.Node) or left.target != aten.transpose.int or not _turns(left):
        return None
    return _call(graph, aten.bmm.default, _call(graph, aten.transpose.int, right, 1, 2), left.args[0])


def _turns(node: fx.Node) -> bool:
    return _value(node).ndim == 3 and node.args[1:] == (1, 2)


def _only_reshaped(node: object) -> fx.Node | None:
    """Returns the operation behind reshapes whose result nothing else uses."""
    while isinstance(node, fx.Node) and len(node.users) == 1:
        if node.target not in RESHAPES:
            return node
        node = node.args[0]
    return None


def _changed_in_place(graph: fx.Graph) -> set[fx.Node]:
    """Returns the nodes whose memory some operation changes."""
    changed = set()
    for node in graph.nodes:
        if _changes(node):
            changed |= {_owner(given) for given in node.all_input_nodes}
    return changed


def _changes(node: fx.Node) -> bool:
    """Returns whether an operation changes memory of its arguments."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def _owner(node: Any) -> fx.Node:
    """Returns the node whose memory a chain of views and of changes in place shows."""
    while node.op == "call_function" and (node.target is operator.getitem or _shows(node.target)):
        node = node.args[0]
    owner: fx.Node = node
    return owner


def _shows(target: OpOverload) -> bool:
    """Returns whether the result of an operation lies in memory of its first argument."""
    return target in RESHAPES or any(given.alias_info is not None for given in target._schema.returns)


def _value(node: Any) -> Tensor:
    """Returns a tensor with the layout of a node's result."""
    value: Tensor = node.meta["val"]
    return value


def _layout(tensor: Tensor) -> Tensor:
    """Returns a tensor of the same shape, strides and type without numbers."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _call(graph: fx.Graph, target: OpOverload, *args: Any) -> fx.Node:
    """Adds an operation, with the layout of its result."""
    node = graph.call_function(target, args)
    node.meta["val"] = target(*(a.meta["val"] if isinstance(a, fx.Node) else a for a in args))
    return node

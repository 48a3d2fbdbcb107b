"""Tapes: the kernels that a function of tensors calls, one after another."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from offlinekit.ground.own_code import own_line
from offlinekit.nn.dispatch import Dispatch

if TYPE_CHECKING:
    from torch._ops import OpOverload


class NotRecordableError(Exception):
    """The function did what a replay cannot repeat; the message says what."""


class Call(NamedTuple):
    """A kernel with the arguments that it was called with, the places of tensors among them, and what it returned."""

    operator: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    reads: frozenset[int]
    results: list[Tensor]


REMEDY = (
    "it trains as written, which gives the same numbers and takes longer; to be recorded a loss takes no number out of "
    "a tensor and keeps its shapes: (labels[..., None] == torch.arange(n)) in place of one_hot, torch.where in place "
    "of masks and branches"
)
"""What a refusal means, and what to do."""


class Tape(Dispatch):
    """Records the kernels that are called within it; what they return stays alive, so that its memory identifies it.

    Args:
        earlier: Tapes of functions that are always called before this one. A call that one of them has made
            with the same numbers is noted as known.
        moved: Tensors that change between the earlier functions and this one, such as parameters.

    Attributes:
        calls: In order.
        known: Numbers of calls whose results lie in memory of earlier tapes.
        same: Places of their results, to the tensors there.
    """

    def __init__(self, earlier: Sequence[Tape] = (), moved: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.refusal: str | None = None
        self.made: dict[Hashable, list[Tensor]] = {k: v for tape in earlier for k, v in tape.made.items()}
        self.earlier = frozenset(self.made)
        self.moved = {place(tensor) for tensor in moved}
        self.known: set[int] = set()
        self.same: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Calls the kernel and notes it."""
        reads = frozenset(map(place, tensors_in((args, kwargs))))
        is_same = not is_random(func) and reads.isdisjoint(self.moved)
        key = (func, _keyed(args, self.same), _keyed(kwargs or {}, self.same)) if is_same else None
        returned = func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {}, reads, tensors_in(returned))
        if key in self.earlier:
            self.known.add(len(self.calls))
            for mine, theirs in zip(call.results, self.made[key], strict=True):
                self.same.setdefault(place(mine), theirs)
        elif key is not None:
            self.made[key] = call.results
        self.calls.append(call)
        if self.refusal is None and (why := refusal(func, args, returned)):
            line = own_line(traceback.extract_stack(), within="objectives.py")
            self.refusal = f"{why}{f' at {line}' if line else ''}; {REMEDY}"
        return returned

    def shares(self) -> bool:
        """Returns whether what is known lies in memory of earlier tapes as this one saw it last."""
        mine = {place(tensor): tensor for call in self.calls for tensor in call.results}
        return all(mine[where]._version == theirs._version for where, theirs in self.same.items())

    def forget(self) -> None:
        """Makes all calls its own."""
        self.known, self.same = set(), {}

    def borrowed(self, result: object) -> list[Tensor]:
        """Returns the tensors of earlier tapes that calls of its own or its result read."""
        own = (call for i, call in enumerate(self.calls) if i not in self.known)
        read = frozenset(map(place, tensors_in(result))).union(*(call.reads for call in own))
        return [theirs for where, theirs in self.same.items() if where in read]


def refusal(operator: OpOverload, arguments: tuple[Any, ...], returned: object) -> str | None:
    """Returns why a call cannot be made again, or None."""
    if not (returned is None or isinstance(returned, (Tensor, list, tuple))):
        return f"it looked at a number ({operator})"
    if torch.Tag.dynamic_output_shape in operator.tags:
        masks = any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(arguments[1:]))
        if masks or "index" not in str(operator):
            return f"a shape depends on numbers ({operator})"
    return None


def is_random(operator: OpOverload) -> bool:
    """Returns whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in operator.tags


def written(call: Call) -> set[int]:
    """Returns the places in memory that a call changes, as its schema says."""
    schema = call.operator._schema
    if not schema.is_mutable:
        return set()
    given = dict(zip((a.name for a in schema.arguments), call.arguments, strict=False)) | call.keywords
    names = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return {place(tensor) for name in names for tensor in tensors_in(given.get(name))}


def place(tensor: Tensor) -> int:
    """Returns the key of the memory behind a tensor among all that is in use."""
    return int(tensor.untyped_storage()._cdata)


def _keyed(tree: object, same: dict[int, Tensor]) -> Hashable:
    """Returns a tree of arguments by what it is: of tensors the memory, its version and their layout."""
    if isinstance(tree, Tensor):
        where = place(same.get(place(tree), tree))
        return where, tree._version, tree.dtype, tree.shape, tree.stride(), tree.storage_offset()
    if isinstance(tree, dict):
        return tuple((key, _keyed(part, same)) for key, part in sorted(tree.items()))
    if isinstance(tree, (list, tuple)):
        return tuple(_keyed(part, same) for part in tree)
    return type(tree), tree


def tensors_in(tree: object) -> list[Tensor]:
    """Returns the tensors in a tree of lists, tuples and dicts."""
    tensors: list[Tensor] = []
    _collect(tree, tensors)
    return tensors


def _collect(tree: object, tensors: list[Tensor]) -> None:
    if isinstance(tree, Tensor):
        tensors.append(tree)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            _collect(part, tensors)
    elif isinstance(tree, dict):
        for part in tree.values():
            _collect(part, tensors)


def map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    """Returns a tree of lists, tuples and dicts with a function of each tensor in its place."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, (list, tuple)):
        return [map_tensors(function, part) for part in tree]
    if isinstance(tree, dict):
        return {key: map_tensors(function, part) for key, part in tree.items()}
    return tree

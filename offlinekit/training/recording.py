"""A function of tensors, recorded as the kernels that it called, and replayed on memory of its own.

What a replay saves is everything but the arithmetic: modules, autograd, views and allocations. The numbers are
those of the function, bit by bit, for the kernels are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

DECIDED = frozenset({"dtype", "layout", "device", "pin_memory", "memory_format"})
"""Arguments that the memory of a result has decided already."""

DIRECT = frozenset(
    [
        "abs",
        "add",
        "addmm",
        "amax",
        "amin",
        "baddbmm",
        "bmm",
        "cat",
        "clamp",
        "div",
        "eq",
        "exp",
        "gather",
        "ge",
        "gt",
        "index_select",
        "le",
        "log",
        "lt",
        "maximum",
        "mean",
        "minimum",
        "mm",
        "mul",
        "neg",
        "pow",
        "relu_",
        "sigmoid",
        "sqrt",
        "sub",
        "sum",
        "tanh",
        "where",
    ]
)
"""Operators whose function in torch is called quicker than the operator itself."""

WITHOUT_OUT = frozenset({"aten::native_batch_norm"})
"""Operators whose variant for given results writes elsewhere too."""

SHAPED_AFTER = frozenset({"aten::ones_like", "aten::zeros_like", "aten::full_like", "aten::new_zeros"})
"""Operators that look at the shape of a tensor and not at its numbers."""


class NotRecordableError(Exception):
    """The function did what a replay cannot repeat; the message says what."""


class Call(NamedTuple):
    """A kernel with the arguments that it was called with and the tensors that it returned."""

    operator: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    results: list[Tensor]


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]  # Of torch.
    """Notes the kernels that are called within it; what they return stays alive, so memory tells it apart.

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
        super().__init__()  # type: ignore[no-untyped-call]  # Of torch.
        self.calls: list[Call] = []
        self.refusal: str | None = None
        self.made: dict[Hashable, list[Tensor]] = {k: v for tape in earlier for k, v in tape.made.items()}
        self.earlier = frozenset(self.made)
        self.moved = {place(tensor) for tensor in moved}
        self.known: set[int] = set()
        self.same: dict[int, Tensor] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # Else torch imports its compiler at the first call, which takes a second.

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Calls the kernel and notes it."""
        key = self._key(func, args, kwargs)
        returned = func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {}, tensors_in(returned))
        if key in self.earlier:
            self.known.add(len(self.calls))
            for mine, theirs in zip(call.results, self.made[key], strict=True):
                self.same.setdefault(place(mine), theirs)
        elif key is not None:
            self.made[key] = call.results
        self.calls.append(call)
        self.refusal = self.refusal or _refusal(call, returned)
        return returned

    def _key(self, func: Any, args: Any, kwargs: Any) -> Hashable:
        """Returns what tells a call's numbers from those of others, None where no other can have them."""
        inputs = tensors_in((args, kwargs))
        if _is_random(func) or any(place(t) in self.moved for t in inputs):
            return None
        return (func, _keyed(args, self.same), _keyed(kwargs or {}, self.same))

    def shares(self) -> bool:
        """Returns whether what is known lies in memory of earlier tapes as this one saw it last."""
        mine = {place(tensor): tensor for call in self.calls for tensor in call.results}
        return all(mine[where]._version == theirs._version for where, theirs in self.same.items())

    def forget(self) -> None:
        """Makes all calls its own."""
        self.known, self.same = set(), {}

    def borrowed(self, result: Any) -> list[Tensor]:
        """Returns the tensors of earlier tapes that calls of its own or its result read."""
        own = [call for i, call in enumerate(self.calls) if i not in self.known]
        return [self.same[place(t)] for t in tensors_in((own, result)) if place(t) in self.same]


class Recording:
    """The calls on a tape, ready to be made again.

    Args:
        tape: What noted the function's calls. Tensors that the function read and did not make itself, such as
            parameters and the batch, are read at the same place in memory again.
        result: What the function returned: a tree of tensors and None.
        state: Tensors that the function may change, such as running means.
        kept: Tensors on the tape that later recordings read.
        earlier: Recordings, replayed before this one each time, that hold what the tape knows.

    Raises:
        NotRecordableError: Where the function looked at a number, made a shape of numbers, or changed a tensor
            that is neither its own nor in `state`.
    """

    def __init__(
        self,
        tape: Tape,
        result: Any,
        state: Iterable[Tensor] = (),
        kept: Sequence[Tensor] = (),
        earlier: Sequence[Recording] = (),
    ) -> None:
        if tape.refusal is not None:
            raise NotRecordableError(tape.refusal)
        own = [call for i, call in enumerate(tape.calls) if i not in tape.known]
        fixed = _constants(own)
        calls = [call for call in own if not (call.results and fixed.issuperset(map(place, call.results)))]
        blocks = {where: block for recording in earlier for where, block in recording.blocks.items()}
        lent = {
            where: blocks[place(theirs)] for where, theirs in tape.same.items() if place(theirs) in blocks
        }
        memory = _Memory(calls, [result, *kept], state, lent)
        self.kernels = [kernel for call in calls if (kernel := _kernel(call, memory)) is not None]
        self.blocks: dict[int, Tensor] = memory.blocks
        self.result = memory.moved(result)

    def replay(self) -> Any:
        """Does again what the function did, with the numbers that stand in memory now.

        Returns:
            A tree as the function returned it; the next replay writes into the same tensors.
        """
        with torch.inference_mode():
            for kernel in self.kernels:
                kernel()
        return self.result


class _Memory:
    """Blocks for the results of calls; one serves again once the result in it was read for the last time.

    Raises:
        NotRecordableError: Where a call writes elsewhere than into a block or into `state`.
    """

    def __init__(
        self, calls: list[Call], result: Any, state: Iterable[Tensor], lent: dict[int, Tensor]
    ) -> None:
        self.blocks: dict[int, Tensor] = {}
        self.lent = lent
        self.copies: dict[int, Tensor] = {}
        ends = _last_uses(calls, result)
        foreign: set[int] = set()
        writable = {place(tensor) for tensor in state}
        free: dict[int, list[Tensor]] = {}
        for i, call in enumerate(calls):
            foreign |= {place(t) for t in tensors_in(call[1:3])} - self.blocks.keys()
            for tensor in call.results:
                where, size = place(tensor), tensor.untyped_storage().nbytes()
                if where not in self.blocks and where not in foreign and where not in lent:
                    for old in _overwritable(call, tensor, ends[i] & self.blocks.keys()):
                        ends[i].remove(old)
                        free.setdefault(size, []).append(self.blocks[old])
                        break
                    spare = free.get(size) or [torch.empty(size, dtype=torch.uint8, device=tensor.device)]
                    self.blocks[where] = spare.pop()
            for where in written(call):
                if where not in self.blocks and where not in writable:
                    raise NotRecordableError(f"it changes a tensor that is not its own ({call.operator})")
            for where in ends[i] & self.blocks.keys():
                free.setdefault(self.blocks[where].nbytes, []).append(self.blocks[where])

    def moved(self, tree: Any) -> Any:
        """Returns a tree with each result at its place in a block, and other tensors as they are."""
        return _map_tensors(self._moved, tree)

    def _moved(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self.copies:
            where = place(tensor)
            block = self.blocks.get(where, self.lent.get(where))
            copy = tensor.detach()
            if block is not None:
                typed = block.view(tensor.dtype)
                copy = typed.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
            self.copies[id(tensor)] = copy
        return self.copies[id(tensor)]


def _constants(calls: list[Call]) -> set[int]:
    """Returns the places of results that follow from no tensor's numbers and stay as they are."""
    changed = {where for call in calls for where in written(call)}
    fixed: set[int] = set()
    for call in calls:
        places = {place(tensor) for tensor in call.results}
        inputs = set() if call.operator.name() in SHAPED_AFTER else set(map(place, tensors_in(call[1:3])))
        if inputs <= fixed and not places & changed and not _is_random(call.operator):
            fixed |= places
    return fixed


def _is_random(operator: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in operator.tags


def _last_uses(calls: list[Call], result: Any) -> list[set[int]]:
    """Returns for each call the places in memory that no later one uses and that do not hold the result."""
    last = {place(tensor): i for i, call in enumerate(calls) for tensor in tensors_in(call)}
    ends: list[set[int]] = [set() for _ in calls]
    for where in last.keys() - {place(tensor) for tensor in tensors_in(result)}:
        ends[last[where]].add(where)
    return ends


def _overwritable(call: Call, result: Tensor, ended: set[int]) -> list[int]:
    """Returns the places of arguments that an elementwise kernel may overwrite with its result."""
    if torch.Tag.pointwise not in call.operator.tags:
        return []
    arguments = tensors_in(call.arguments)
    other = {place(tensor) for tensor in arguments if _layout(tensor) != _layout(result)}
    return [where for where in map(place, arguments) if where in ended and where not in other]


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    size = tensor.untyped_storage().nbytes()
    return tensor.dtype, tensor.shape, tensor.stride(), tensor.storage_offset(), size


def _kernel(call: Call, memory: _Memory) -> Callable[[], Any] | None:
    """Returns what makes a call again, into the same memory; None where nothing is to be done."""
    arguments, keywords, results = memory.moved(call[1:])
    used = {place(tensor) for tensor in tensors_in(call[1:3])}
    fresh = [tensor for tensor in call.results if place(tensor) not in used]
    if not fresh:  # A view, or a change in place.
        return _quick(call.operator, arguments, keywords) if written(call) else None
    if call.operator.name().startswith(("aten::empty", "aten::new_empty")):
        return None
    if len(fresh) < len(call.results):
        raise NotRecordableError(f"some of what it made is new and some is not ({call.operator})")
    variants = [] if call.operator.name() in WITHOUT_OUT else call.operator.overloadpacket.overloads()
    for name in variants:
        variant = getattr(call.operator.overloadpacket, name)
        outs = _outs(variant, call)
        if len(outs) == len(results):
            kept = {a.name: keywords[a.name] for a in variant._schema.arguments if a.name in keywords}
            return _quick(variant, arguments, kept | dict(zip(outs, results, strict=True)))
    return partial(_copied, results, partial(call.operator._op, *arguments, **keywords))


def _quick(operator: Any, arguments: Sequence[Any], keywords: dict[str, Any]) -> Callable[[], Any]:
    """Returns what calls an operator in the quickest way; one with results of its own is tried out."""
    name = operator._schema.name.removeprefix("aten::")
    if name not in DIRECT or not (name.endswith("_") or "out" in keywords):
        return partial(operator._op, *arguments, **keywords)
    quick = partial(getattr(torch, name), *arguments, **keywords)
    if not name.endswith("_"):
        try:
            with torch.inference_mode():
                quick()
        except (
            TypeError,
            RuntimeError,
            IndexError,
        ):  # Of another signature, or not of the numbers in memory now.
            return partial(operator._op, *arguments, **keywords)
    return quick


def _outs(variant: Any, call: Call) -> list[str]:
    """Returns the names of the results that a variant writes into, where it is else the operator called."""
    schemas = [operator._schema.arguments for operator in (variant, call.operator)]
    inputs = [[(a.name, str(a.type)) for a in s if not a.is_out and a.name not in DECIDED] for s in schemas]
    names = [a.name for a in schemas[0]]
    if inputs[0] != inputs[1] or ("reduction" in names and not call.results[0].ndim):
        return []  # The mean or sum of a loss is first resized to the loss of each element.
    return [a.name for a in schemas[0] if a.is_out]


def _copied(results: list[Tensor], function: Callable[[], Any]) -> None:
    """Writes what a function returns into tensors."""
    for result, value in zip(results, tensors_in(function()), strict=True):
        result.copy_(value)


def _refusal(call: Call, returned: Any) -> str | None:
    """Returns why a call cannot be made again, or None."""
    if not (returned is None or isinstance(returned, (Tensor, list, tuple))):
        return f"it looked at a number ({call.operator})"
    masks = any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(call.arguments[1:]))
    if torch.Tag.dynamic_output_shape in call.operator.tags and (masks or "index" not in str(call.operator)):
        return f"a shape depends on numbers ({call.operator})"
    return None


def written(call: Call) -> set[int]:
    """Returns the places in memory that a call changes, as its schema says."""
    schema = call.operator._schema
    if not schema.is_mutable:
        return set()
    given = dict(zip((a.name for a in schema.arguments), call.arguments, strict=False)) | call.keywords
    names = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    return {place(tensor) for name in names for tensor in tensors_in(given.get(name))}


def place(tensor: Tensor) -> int:
    """Returns what tells the memory behind a tensor from all other that is in use."""
    return int(tensor.untyped_storage()._cdata)


def _keyed(tree: Any, same: dict[int, Tensor]) -> Hashable:
    """Returns a tree of arguments by what it is: of tensors the memory, its version and their layout."""
    if isinstance(tree, Tensor):
        where = place(same.get(place(tree), tree))
        return where, tree._version, tree.dtype, tree.shape, tree.stride(), tree.storage_offset()
    if isinstance(tree, dict):
        return tuple((key, _keyed(part, same)) for key, part in sorted(tree.items()))
    if isinstance(tree, (list, tuple)):
        return tuple(_keyed(part, same) for part in tree)
    return type(tree), tree


def tensors_in(tree: Any) -> list[Tensor]:
    """Returns the tensors in a tree of lists, tuples and dicts."""
    found: list[Tensor] = []
    _map_tensors(found.append, tree)
    return found


def _map_tensors(function: Callable[[Tensor], Any], tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, dict):
        return {key: _map_tensors(function, part) for key, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_map_tensors(function, part) for part in tree]
    return tree

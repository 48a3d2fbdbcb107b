"""A function of tensors, recorded as the kernels that it called, and replayed on memory of its own.

What a replay saves is everything but the arithmetic: modules, autograd, views and allocations. The numbers are
those of the function, bit by bit, for the kernels are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from offlinekit.training.engines.tape import (
    Call,
    NotRecordableError,
    Tape,
    is_random,
    map_tensors,
    place,
    tensors_in,
    written,
)

if TYPE_CHECKING:
    from torch._ops import OpOverload

R = TypeVar("R")

DECIDED = frozenset({"dtype", "layout", "device", "pin_memory", "memory_format"})
"""Arguments that the memory of a result has decided already."""

DIRECT = frozenset((
    "abs", "add", "addmm", "amax", "amin", "baddbmm", "bmm", "cat", "clamp", "div", "eq", "exp", "gather", "ge", "gt",
    "index_select", "le", "log", "lt", "maximum", "mean", "minimum", "mm", "mul", "neg", "pow", "relu_", "sigmoid",
    "sqrt", "sub", "sum", "tanh", "where",
))  # fmt: skip
"""Operators whose function in torch is called quicker than the operator itself."""

WITHOUT_OUT = frozenset({"aten::native_batch_norm"})
"""Operators whose variant for given results writes elsewhere too."""

SHAPED_AFTER = frozenset({"aten::ones_like", "aten::zeros_like", "aten::full_like", "aten::new_zeros"})
"""Operators that look at the shape of a tensor and not at its numbers."""


class Recording(Generic[R]):
    """The calls on a tape, ready to be made again.

    Args:
        tape: What noted the function's calls. Tensors that the function read and did not make itself, such as
            parameters and the batch, are read at the same place in memory again.
        result: What the function returned: a tree of tensors and None.
        state: Tensors that the function may change, such as running means.
        kept: Tensors on the tape that later recordings read.
        earlier: Recordings, replayed before this one each time, that hold the tape's memory.

    Raises:
        NotRecordableError: If the function looked at a number, made a shape of numbers, or changed a tensor
            that is neither its own nor in `state`.
    """

    def __init__(
        self,
        tape: Tape,
        result: R,
        state: Iterable[Tensor] = (),
        kept: Sequence[Tensor] = (),
        earlier: Sequence[Recording[Any]] = (),
    ) -> None:
        if tape.refusal is not None:
            raise NotRecordableError(tape.refusal)
        own = [call for i, call in enumerate(tape.calls) if i not in tape.known]
        fixed = _constants(own)
        state = list(state)
        changing = [call for call in own if not (call.results and fixed.issuperset(map(place, call.results)))]
        calls = _needed(changing, [result, *kept, *state])
        blocks = {where: block for recording in earlier for where, block in recording.blocks.items()}
        lent = {
            where: blocks[place(theirs)] for where, theirs in tape.same.items() if place(theirs) in blocks
        }
        memory = _Memory(calls, [result, *kept], state, lent)
        self.kernels = [kernel for call in calls if (kernel := _kernel(call, memory)) is not None]
        self.blocks: dict[int, Tensor] = memory.blocks
        self.result = memory.moved(result)

    def replay(self) -> R:
        """Repeats what the function did, with the numbers that stand in memory now.

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
        NotRecordableError: If a call writes elsewhere than into a block or into `state`.
    """

    def __init__(
        self, calls: list[Call], result: object, state: Iterable[Tensor], lent: dict[int, Tensor]
    ) -> None:
        self.blocks: dict[int, Tensor] = {}
        self.lent = lent
        self.copies: dict[int, Tensor] = {}
        ends = _last_uses(calls, result)
        foreign: set[int] = set()
        writable = {place(tensor) for tensor in state}
        free: dict[int, list[Tensor]] = {}
        for i, call in enumerate(calls):
            foreign |= call.reads - self.blocks.keys()
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

    def moved(self, tree: R) -> R:
        """Returns a tree with each result at its place in a block, and other tensors as they are."""
        moved: R = map_tensors(self._moved, tree)
        return moved

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
        reads = frozenset() if call.operator.name() in SHAPED_AFTER else call.reads
        if reads <= fixed and not places & changed and not is_random(call.operator):
            fixed |= places
    return fixed


def _needed(calls: list[Call], results: object) -> list[Call]:
    """Returns the calls that draw random numbers or that a tree of results depends on."""
    places = {place(tensor) for tensor in tensors_in(results)}
    needed = []
    for call in reversed(calls):
        if is_random(call.operator) or places & ({*map(place, call.results)} | written(call)):
            needed.append(call)
            places |= call.reads.union(map(place, call.results))
    return needed[::-1]


def _last_uses(calls: list[Call], result: object) -> list[set[int]]:
    """Returns for each call the places in memory that no later one uses and that do not hold the result."""
    last = {where: i for i, call in enumerate(calls) for where in (*call.reads, *map(place, call.results))}
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
    """Returns what makes a call again, into the same memory; None if nothing is to be done."""
    arguments, keywords, results = memory.moved((call.arguments, call.keywords, call.results))
    fresh = [tensor for tensor in call.results if place(tensor) not in call.reads]
    if not fresh:  # A view, or a change in place.
        return _quick(call.operator, arguments, keywords) if written(call) else None
    if call.operator.name().startswith(("aten::empty", "aten::new_empty")):
        return None
    if call.operator.name() == "aten::_to_copy":  # Whose variant for a given result copies twice.
        return partial(results[0].copy_, arguments[0])
    if len(fresh) < len(call.results):
        raise NotRecordableError(f"some of what it made is new and some is not ({call.operator})")
    for variant, outs in _out_variants(call.operator, scalar=not call.results[0].ndim):
        if len(outs) == len(results):
            kept = {a.name: keywords[a.name] for a in variant._schema.arguments if a.name in keywords}
            return _quick(variant, arguments, kept | dict(zip(outs, results, strict=True)))
    return partial(_copied, results, partial(call.operator._op, *arguments, **keywords))


def _quick(operator: OpOverload, arguments: Sequence[Any], keywords: dict[str, Any]) -> Callable[[], Any]:
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


@cache
def _out_variants(operator: OpOverload, scalar: bool) -> list[tuple[OpOverload, list[str]]]:
    """Returns the variants of an operator that write into given tensors, with the names of these.

    Args:
        operator: As it was called.
        scalar: Whether its result is a single number.
    """
    if operator._schema.name in WITHOUT_OUT:
        return []
    packet = operator.overloadpacket
    variants: list[OpOverload] = [getattr(packet, name) for name in packet.overloads()]
    if scalar:  # The mean or sum of a loss is first resized to the loss of each element.
        variants = [v for v in variants if all(a.name != "reduction" for a in v._schema.arguments)]
    alike = [variant for variant in variants if _inputs(variant) == _inputs(operator)]
    outs = [(v, [a for a in v._schema.arguments if a.is_out]) for v in alike]
    return [(v, [a.name for a in given]) for v, given in outs if all(str(a.type) == "Tensor" for a in given)]


def _inputs(operator: OpOverload) -> list[tuple[str, str]]:
    arguments = operator._schema.arguments
    return [(a.name, str(a.type)) for a in arguments if not a.is_out and a.name not in DECIDED]


def _copied(results: list[Tensor], function: Callable[[], Any]) -> None:
    """Writes what a function returns into tensors."""
    for result, value in zip(results, tensors_in(function()), strict=True):
        result.copy_(value)

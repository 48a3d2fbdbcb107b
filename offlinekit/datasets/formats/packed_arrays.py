"""Arrays that were packed as LZ4-compressed numpy pickles, taken out as data: nothing of a pickle is run.

The stream is cut into its opcodes by `pickletools`, which only names them. The few that an array needs are
understood here, any other one is refused, and no name in the stream is ever imported.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
from typing import Any, NamedTuple

import numpy as np

from offlinekit.errors import FileFormatError, require
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

LZ4_LIMIT = 256
"""LZ4 shrinks by 255 at most."""
FUNCTIONS = {
    *(f"numpy.{core}.{name}" for core in ("core", "_core") for name in ("numeric._frombuffer",)),
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    "numpy.ndarray",
    "numpy.dtype",
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
VALUES = ("BINUNICODE", "BINBYTES", "BYTEARRAY", "BININT", "LONG")
SILENT = ("PROTO", "FRAME")


class _Call(NamedTuple):
    function: str
    arguments: tuple[Any, ...]
    state: Any = None


def unpack(text: str) -> Array:
    """Returns the array that a column's base64 text holds.

    Raises:
        MissingExtraError: If lz4 is not installed.
        FileFormatError: For text that holds anything but one array of numbers.
    """
    frames = require("lz4.frame", "lz4")
    try:
        decompressor = frames.LZ4FrameDecompressor()
        packed = base64.b64decode(text, validate=True)
        budget = budget_of()
        limit = min((budget.limit - budget.held) // 3, len(packed) * LZ4_LIMIT)
        content = decompressor.decompress(packed, max_length=limit)
        if not decompressor.eof:
            raise FileFormatError(f"a packed column is cut off, or larger than {limit:,} bytes")
        budget.take(len(content), "a packed column")
        return _array(_parse(content))
    except (binascii.Error, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise FileFormatError(f"a packed column is damaged, or no array of numbers ({error})") from error


def _parse(content: bytes) -> object:
    stack: list[Any] = []
    marks: list[int] = []  # Places in the stack.
    memo: dict[int, Any] = {}
    budget = budget_of()
    for opcode, argument, _ in pickletools.genops(content):
        budget.work(4)
        name = opcode.name
        if name == "STOP":
            return stack.pop()
        if name in SILENT:
            continue
        if name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        else:
            _apply(name, argument, stack, marks)
    raise ValueError("it has no end")


def _apply(name: str, argument: object, stack: list[Any], marks: list[int]) -> None:
    if name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name == "MARK":
        marks.append(len(stack))
    elif name == "TUPLE":
        start = marks.pop()
        stack[start:] = [tuple(stack[start:])]
    elif name in TUPLES:
        stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
    elif name == "GLOBAL":
        stack.append(_function(str(argument).replace(" ", ".")))
    elif name == "STACK_GLOBAL":
        stack[-2:] = [_function(".".join(stack[-2:]))]
    elif name == "REDUCE":
        stack[-2:] = [_Call(stack[-2], stack[-1])]
    elif name == "BUILD":
        stack[-2:] = [stack[-2]._replace(state=stack[-1])]
    elif name.removeprefix("SHORT_").startswith(VALUES):
        stack.append(argument)
    else:
        raise ValueError(f"it has the opcode {name}")


def _function(name: str) -> str:
    if name not in FUNCTIONS:
        raise ValueError(f"it names {name:.100}, which is never called")
    return name


def _array(call: object) -> Array:
    """Returns the array that a call of numpy's `_frombuffer`, or of `_reconstruct` with a state, stands for."""
    if not isinstance(call, _Call):
        raise ValueError(f"it is a {type(call).__name__}")
    if call.function.endswith("_frombuffer"):
        content, dtype, shape, order = call.arguments
    elif call.function.endswith("_reconstruct"):
        _, shape, dtype, is_fortran, content = call.state
        order = "F" if is_fortran else "C"
    else:
        raise ValueError("it is the call of another function")
    if not isinstance(content, bytes | bytearray):
        raise ValueError(f"its content is a {type(content).__name__}, expected bytes")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape):
        raise ValueError("its shape is no tuple of whole numbers")
    array: Array = np.frombuffer(content, _dtype(dtype)).reshape(shape, order=order)
    return array


def _dtype(call: Any) -> np.dtype[Any]:
    code, order = call.arguments[0], "|" if call.state is None else call.state[1]
    if call.function != "numpy.dtype" or not isinstance(code, str) or code[:1] not in tuple("fiub"):
        raise ValueError("its dtype is none of numbers")
    dtype: np.dtype[Any] = np.dtype(code)
    return dtype.newbyteorder("S") if order == ">" else dtype

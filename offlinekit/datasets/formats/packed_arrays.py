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
from offlinekit.types import Array

LIMIT = 1 << 31
"""Bytes that one column may unpack to."""
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


class _Mark:
    pass


class _Call(NamedTuple):
    function: str
    arguments: tuple[Any, ...]
    state: Any = None


def unpack(text: str) -> Array:
    """Returns the array that a column's base64 text holds.

    Raises:
        MissingExtraError: Where lz4 is not installed.
        FileFormatError: For text that holds anything but one array of numbers.
    """
    frames = require("lz4.frame", "lz4")
    try:
        decompressor = frames.LZ4FrameDecompressor()
        packed = base64.b64decode(text, validate=True)
        limit = min(LIMIT, len(packed) * LZ4_LIMIT)
        content = decompressor.decompress(packed, max_length=limit)
        if not decompressor.eof:
            raise FileFormatError(f"a packed column is cut off, or larger than {limit:,} bytes")
        return _array(_parse(content))
    except (binascii.Error, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise FileFormatError(f"a packed column is damaged, or no array of numbers ({error})") from error


def _parse(content: bytes) -> object:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(content):
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
            _apply(name, argument, stack)
    raise ValueError("it has no end")


def _apply(name: str, argument: object, stack: list[Any]) -> None:
    if name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name == "MARK":
        stack.append(_Mark)
    elif name == "TUPLE":
        start = len(stack) - stack[::-1].index(_Mark)
        stack[start - 1 :] = [tuple(stack[start:])]
    elif name in TUPLES:
        stack[-TUPLES[name] :] = [tuple(stack[-TUPLES[name] :])]
    elif name == "GLOBAL":
        stack.append(_function(str(argument).replace(" ", ".")))
    elif name == "STACK_GLOBAL":
        stack[-2:] = [_function(f"{stack[-2]}.{stack[-1]}")]
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
        raise ValueError(f"it names {name}, which is never called")
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
        raise ValueError(f"it is a {call.function}")
    array: Array = np.frombuffer(bytes(content), _dtype(dtype)).reshape(shape, order=order)
    return array


def _dtype(call: Any) -> np.dtype[Any]:
    code, order = call.arguments[0], "|" if call.state is None else call.state[1]
    if call.function != "numpy.dtype" or code[0] not in "fiub":
        raise ValueError(f"its dtype is {code!r}")
    dtype: np.dtype[Any] = np.dtype(code).newbyteorder(order)
    return dtype

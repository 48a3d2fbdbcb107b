"""Arrays inside pickles, taken out as data: LZ4-compressed ones of numpy, and the archives of torch.

Nothing of a pickle is run. The stream is cut into its opcodes by `pickletools`, which only names them. The few that
arrays, dicts and lists of them need are understood here, any other one is refused, and no name in it is imported.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import pickletools
import zipfile
from collections.abc import Set
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
STORAGES = {
    f"torch.{name}Storage": dtype
    for name, dtype in (
        ("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("Long", "<i8"), ("Int", "<i4"), ("Short", "<i2"),
        ("Char", "|i1"), ("Byte", "|u1"), ("Bool", "|b1"),
    )
}  # fmt: skip
REBUILD = "torch._utils._rebuild_tensor_v2"
ORDERED_DICT = "collections.OrderedDict"
OF_TORCH = {REBUILD, ORDERED_DICT, *STORAGES}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
DEEPEST = 16
"""Dicts and lists inside of one another that an archive may have."""
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
VALUES = ("BINUNICODE", "BINBYTES", "BYTEARRAY", "BININT", "LONG")
SILENT = ("PROTO", "FRAME")


class _Call(NamedTuple):
    function: str
    arguments: tuple[Any, ...]
    state: Any = None


class _Stored(NamedTuple):
    """What a pickle refers to beside itself: the numbers of a tensor, in another file of the archive."""

    place: Any


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
        return _array(_parse(content, FUNCTIONS))
    except (binascii.Error, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise FileFormatError(f"a packed column is damaged, or no array of numbers ({error})") from error


def plain_pickle(content: bytes) -> object:
    """Returns the dicts, lists, texts, bytes and numbers that a pickle holds, of which it may hold nothing else.

    Raises:
        FileFormatError: For anything else.
    """
    try:
        return _parse(content, set())
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        raise FileFormatError(f"a pickle is damaged, or holds more than plain data ({error})") from error


def torch_archive(content: bytes) -> dict[str, Any]:
    """Returns the dict that `torch.save` wrote: tensors as arrays, inside of dicts, lists, texts and numbers.

    Args:
        content: Of the file: a zip archive whose files are not compressed, as torch writes it.

    Raises:
        FileFormatError: For an archive that is damaged, or holds anything else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = _stored_files(archive)
            root = next(name for name in files if name.endswith("/data.pkl")).removesuffix("data.pkl")
            found = _parse(files[f"{root}data.pkl"], OF_TORCH)
            if not isinstance(found, dict):
                raise ValueError(f"it is a {type(found).__name__}, expected a dict")
            return {str(name): _with_arrays(part, files, f"{root}data/", 0) for name, part in found.items()}
    except (
        *(ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError),
        *(StopIteration, zipfile.BadZipFile, NotImplementedError, EOFError),
    ) as error:
        raise FileFormatError(
            f"an archive of torch is damaged, or holds more than tensors ({error})"
        ) from error


def _stored_files(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Returns the files of an archive that are not compressed, by name."""
    files, budget = {}, budget_of()
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{entry.filename:.100} is compressed, which torch does not do")
        budget.take(entry.file_size, "an archive of torch")
        files[entry.filename] = archive.read(entry)
    return files


def _with_arrays(found: Any, files: dict[str, bytes], folder: str, depth: int) -> Any:
    """Returns what was found in an archive, with the arrays in place of the calls that stand for them."""
    budget_of().work(4)
    if depth > DEEPEST:
        raise ValueError(f"it nests more than {DEEPEST} deep")
    if isinstance(found, _Call):
        return _tensor_of(found, files, folder)
    if isinstance(found, dict):
        return {name: _with_arrays(part, files, folder, depth + 1) for name, part in found.items()}
    if isinstance(found, list | tuple) and not isinstance(found, _Stored):
        return [_with_arrays(part, files, folder, depth + 1) for part in found]
    return found


def _tensor_of(call: _Call, files: dict[str, bytes], folder: str) -> Array:
    """Returns a tensor as an array of its own."""
    if call.function != REBUILD:
        raise ValueError(f"it calls {call.function}")
    stored, offset, shape, strides, *_ = call.arguments
    kind, storage, name, _, n_numbers = stored.place
    if kind != "storage" or not isinstance(name, str):
        raise ValueError("a tensor names no storage")
    numbers = np.frombuffer(files[folder + name], STORAGES[storage])
    sizes = [*shape, *strides, offset, n_numbers]
    if not all(type(size) is int and size >= 0 for size in sizes) or len(shape) != len(strides):
        raise ValueError("sizes of a tensor are no whole numbers")
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if 0 not in shape and not last < len(numbers) == n_numbers:
        raise ValueError(f"a tensor reaches to number {last} of {len(numbers)}")
    budget_of().take(math.prod(shape) * numbers.itemsize, "a tensor")
    if 0 in shape:
        return np.zeros(shape, numbers.dtype)
    places = [stride * numbers.itemsize for stride in strides]
    array: Array = np.lib.stride_tricks.as_strided(numbers[offset:], shape, places).copy()
    return array


def _parse(content: bytes, functions: Set[str]) -> object:
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
            _apply(name, argument, stack, marks, functions)
    raise ValueError("it has no end")


def _apply(name: str, argument: object, stack: list[Any], marks: list[int], functions: Set[str]) -> None:
    if functions is not FUNCTIONS and _apply_to_containers(name, argument, stack, marks):
        return
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
        stack.append(_function(str(argument).replace(" ", "."), functions))
    elif name == "STACK_GLOBAL":
        stack[-2:] = [_function(".".join(stack[-2:]), functions)]
    elif name == "REDUCE":
        stack[-2:] = [_Call(stack[-2], stack[-1])]
    elif name == "BUILD":
        stack[-2:] = [stack[-2]._replace(state=stack[-1])]
    elif name.removeprefix("SHORT_").startswith(VALUES):
        stack.append(argument)
    else:
        raise ValueError(f"it has the opcode {name}")


def _apply_to_containers(name: str, argument: object, stack: list[Any], marks: list[int]) -> bool:
    """Makes or fills a dict or a list, or refers to a storage; False for an opcode that does none of this."""
    if name in ("EMPTY_DICT", "EMPTY_LIST"):
        stack.append({} if name == "EMPTY_DICT" else [])
    elif name == "SETITEM":
        stack[-3][stack[-2]] = stack[-1]
        del stack[-2:]
    elif name == "SETITEMS":
        start = marks.pop()
        stack[start - 1].update(zip(stack[start::2], stack[start + 1 :: 2], strict=True))
        del stack[start:]
    elif name in ("APPEND", "APPENDS"):
        start = marks.pop() if name == "APPENDS" else len(stack) - 1
        stack[start - 1].extend(stack[start:])
        del stack[start:]
    elif name == "BINPERSID":
        stack[-1] = _Stored(stack[-1])
    elif name == "BINFLOAT":
        stack.append(argument)
    elif name == "REDUCE" and stack[-2:] == [ORDERED_DICT, ()]:
        stack[-2:] = [{}]
    elif name == "BUILD" and isinstance(stack[-2], dict):
        stack.pop()  # The versions of modules, beside the tensors of a state dict.
    else:
        return False
    return True


def _function(name: str, functions: Set[str]) -> str:
    if name not in functions:
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

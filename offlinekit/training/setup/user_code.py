"""The code of a user's own classes that a run depends on, as hashes that a checkpoint keeps."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn

from offlinekit.interfaces import Trainable

OF_OTHERS = ("offlinekit", "torch", "abc", "typing", "collections")
"""Packages whose versions a checkpoint keeps, and those of Python."""


def user_code(algo: Trainable) -> dict[str, str]:
    """Returns a hash for each class of the user's own among those of an algorithm, its implementation and networks.

    Compiled code is hashed, without comments, documents and line numbers, so that cells of a notebook have one, too.
    """
    modules = algo.impl.modules() if isinstance(algo.impl, nn.Module) else [algo.impl]
    classes = {cls for each in (algo, *modules) for cls in type(each).__mro__}
    classes -= set(filter(lambda each: isinstance(each, type), vars(builtins).values()))
    own = [cls for cls in classes if cls.__module__.partition(".")[0] not in OF_OTHERS]
    return {
        f"code of {cls.__qualname__}": _digest(cls) for cls in sorted(own, key=lambda cls: cls.__qualname__)
    }


def _digest(cls: type[Any]) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(vars(cls).items()):
        for part in _parts(name, value):
            digest.update(f"{name} {part} ".encode())
    return digest.hexdigest()[:12]


def _parts(name: str, value: object) -> Iterator[str]:
    """Yields what an attribute of a class computes or holds, as text."""
    function = getattr(value, "fget", None) or getattr(value, "__func__", value)
    code = getattr(getattr(function, "__wrapped__", function), "__code__", None)
    if isinstance(code, CodeType):
        yield from _code_parts(code, getattr(function, "__doc__", None))
        yield repr(getattr(function, "__defaults__", None))
    elif isinstance(value, (bool, int, float, str, tuple)) and not name.startswith("__"):
        yield repr(value)


def _code_parts(code: CodeType, document: str | None) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names} {code.co_varnames}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_parts(constant, None)
        elif isinstance(constant, frozenset):  # Whose order is not that of another process.
            yield repr(sorted(map(repr, constant)))
        elif constant is None or constant != document:
            yield repr(constant)

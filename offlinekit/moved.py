"""Old import paths, kept for one release: each resolves its names lazily in the module that took its place."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any


def forward(
    old: str,
    new: str,
    names: Collection[str] | None = None,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[str], Any]:
    """Returns the module-level `__getattr__` of an old path.

    Args:
        old: The path that is imported.
        new: The module that holds the names now.
        names: Those that the old path had; None for all of `new`.
        renamed: Old names that have a new one.
    """

    def resolve(name: str) -> object:
        # The import system looks up dunder names and submodules; neither is a use of the old path.
        if name.startswith("__") or (names is not None and name not in names):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        current = renamed.get(name, name)
        value = getattr(importlib.import_module(new), current)
        warnings.warn(
            f"{old} has moved; import {current} from {new}, the old path goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return value

    return resolve

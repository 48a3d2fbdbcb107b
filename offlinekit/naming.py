"""Names that classes and functions go by in files, in the catalogue and on the command line."""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import Any


def register(known: MutableMapping[str, Any], name: str, entry: object, overwrite: bool = False) -> None:
    """Enters a class or function under a name.

    One of the same module replaces the earlier one: a reload, or a notebook's cell that runs twice.

    Raises:
        ValueError: If the name belongs to another module.
    """
    check_free(name, entry, known.get(name), overwrite)
    known[name] = entry


def check_free(name: str, entry: object, owner: object, overwrite: bool = False) -> None:
    """Checks that a name is free, or belongs to the module of the new entry.

    Args:
        name: In a registry.
        entry: The class or function to enter.
        owner: What has the name, or None.
        overwrite: Whether to take it from another module.

    Raises:
        ValueError: If the name belongs to another module.
    """
    if owner is None or overwrite or _home(owner) == _home(entry):
        return
    how = f"class {name}(..., overwrite=True)" if isinstance(entry, type) else "overwrite=True"
    whose = f"{owner.__module__}.{getattr(owner, '__qualname__', owner)}"
    raise ValueError(
        f"the name {name!r} belongs to {whose}, and files mean that by it; choose another name, or replace it on "
        f"purpose: {how}"
    )


def _home(entry: object) -> str:
    """Returns the file of an entry's module, or the module's name: a script is `__main__` and itself."""
    module = sys.modules.get(entry.__module__)
    return getattr(module, "__file__", None) or str(entry.__module__)

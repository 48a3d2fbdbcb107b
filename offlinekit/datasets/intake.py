"""What readers hand to `MDPDataset`, kept for a look at columns that it would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_NOTED: ContextVar[list[dict[str, Any]] | None] = ContextVar("noted", default=None)


@contextmanager
def noted_arguments() -> Iterator[list[dict[str, Any]]]:
    """Yields a list to which each dataset built within adds its arguments by name, before they are checked."""
    noted: list[dict[str, Any]] = []
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def note_arguments(arguments: dict[str, Any]) -> None:
    """Notes the arguments of a dataset that is about to be built, where someone asked for them."""
    noted = _NOTED.get()
    if noted is not None:
        noted.append({name: value for name, value in arguments.items() if name != "self"})

"""The catalogue of algorithms, by the names that files and the command line have."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from offlinekit.naming import check_free, register

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo


FAMILIES = {
    "IL": "imitation",
    "PC": "policy constraint",
    "VR": "value regularisation",
    "U": "uncertainty",
    "MB": "model-based",
    "Off2On": "offline to online",
    "SEQ": "sequence models",
    "TEXT": "text",
    "online": "bases that learn online",
}
"""Families of algorithms, and what their letters stand for."""


@cache
def letters(name: str) -> str:
    """Returns what all spellings of a name have in common: "td3plusbc" of "TD3+BC", "TD3PlusBC", "td3_plus_bc"."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "plus"))


def name_of(front: type[Algo]) -> str:
    """Returns the name of an algorithm on the command line: its own `short_name`, or that of the class."""
    return front.__dict__.get("short_name", "") or _in_words(front.__name__)


@cache
def _in_words(name: str) -> str:
    """Returns the name of a class in small letters, its words apart: "discrete_bc" of "DiscreteBC"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])", "_", name).lower()


def enter(front: type[Algo], known: dict[str, type[Algo]], overwrite: bool) -> None:
    """Enters an algorithm in a catalogue by its class's name, which files have.

    Raises:
        ValueError: If that name, or its like on the command line, belongs to another module.
    """
    name = letters(name_of(front))
    for owner in known.values():
        if name in (letters(name_of(owner)), letters(owner.__name__)):
            check_free(front.__name__, front, owner, overwrite)
    register(known, front.__name__, front, overwrite)

"""Hyperparameters: written once as an annotated field, checked once, described from their own comment."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from dataclasses import dataclass
from typing import Any, Literal

from offlinekit.errors import did_you_mean
from offlinekit.fields import (
    Count,
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Probability,
    Rate,
    Steps,
    checked,
    kind_in_words,
)

__all__ = [
    "Count",
    "Fraction",
    "FramePad",
    "Hyperparameter",
    "Interval",
    "NonNegative",
    "OptimizerName",
    "Positive",
    "Probability",
    "QKind",
    "Rate",
    "Schedule",
    "Steps",
    "check",
    "check_names",
    "describe",
]

Schedule = Literal["constant", "cosine"]
FramePad = Literal["zero", "repeat"]
QKind = Literal["mean", "qr"]
OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop"]


@dataclass(frozen=True)
class Hyperparameter:
    """One field of a front.

    Attributes:
        name: Its keyword.
        default: Its default.
        kind: Its type and range, in words.
        meaning: One line, with the unit.
    """

    name: str
    default: Any
    kind: str
    meaning: str


def describe(cls: type[Any]) -> dict[str, Hyperparameter]:
    """Returns the hyperparameters of a front class, those of its own first."""
    hints = typing.get_type_hints(cls, include_extras=True)
    meanings = _comments(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    own = [name for name in inspect.get_annotations(cls) if name in fields]
    ordered = [*own, *(name for name in fields if name not in own)]
    return {
        name: Hyperparameter(name, fields[name].default, kind_in_words(hints[name]), meanings.get(name, ""))
        for name in ordered
    }


def check(instance: Any) -> None:
    """Checks each field of a front against its annotation and stores numbers as plain Python ones.

    Raises:
        TypeError: For a value of another type.
        ValueError: For a number out of range or an unknown choice.
    """
    hints = typing.get_type_hints(type(instance), include_extras=True)
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        object.__setattr__(instance, field.name, checked(field.name, value, hints[field.name]))


def check_names(cls: type[Any], names: typing.Iterable[str]) -> None:
    """Checks that keywords are hyperparameters of a front.

    Raises:
        TypeError: For an unknown one; it suggests the nearest.
    """
    known = [field.name for field in dataclasses.fields(cls) if field.init]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"; it has: {', '.join(sorted(known))}"
            raise TypeError(f"{cls.__name__} has no hyperparameter {name!r}{hint}")


def _comments(cls: type[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in reversed(cls.__mro__):
        try:
            source = inspect.getsource(parent)
        except (OSError, TypeError):
            continue
        for match in re.finditer(r"^    (\w+): .*?(?:  # (.*))?$", source, re.MULTILINE):
            if match[2]:
                found[match[1]] = match[2].strip()
    return found

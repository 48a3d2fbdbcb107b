"""Hyperparameters: written once as an annotated field, checked once, described from their own comment."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
import re
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from offlinekit.errors import did_you_mean


@dataclass(frozen=True)
class Interval:
    """The range of a number, such as "(0, 1]"."""

    text: str

    def contains(self, value: float) -> bool:
        """Returns whether a number lies within."""
        low, high = (float(bound) for bound in self.text[1:-1].split(","))
        above = value >= low if self.text[0] == "[" else value > low
        below = value <= high if self.text[-1] == "]" else value < high
        return above and below


Positive = Annotated[float, Interval("(0, inf)")]
NonNegative = Annotated[float, Interval("[0, inf)")]
Probability = Annotated[float, Interval("[0, 1]")]
Fraction = Annotated[float, Interval("(0, 1)")]
Rate = Annotated[float, Interval("(0, 1]")]
Count = Annotated[int, Interval("[1, inf)")]
Steps = Annotated[int, Interval("[0, inf)")]
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
        name: Hyperparameter(name, fields[name].default, _words(hints[name]), meanings.get(name, ""))
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
        object.__setattr__(instance, field.name, _checked(field.name, value, hints[field.name]))


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


def _checked(name: str, value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in arguments and value is None:
            return None
        rest = [a for a in arguments if a is not type(None)]
        return _checked(name, value, rest[0]) if len(rest) == 1 else value
    if origin is Literal:
        if value not in arguments:
            hint_text = did_you_mean(str(value), map(str, arguments))
            raise ValueError(f"{name} must be one of {list(arguments)}, got {value!r}{hint_text}")
        return value
    if origin is Annotated:
        kind, interval = arguments[0], arguments[1]
        number = _number(name, value, kind, f" in {interval.text}")
        if not interval.contains(number):
            raise ValueError(f"{name} must be in {interval.text}, got {value}")
        return number
    if hint in (int, float):
        return _number(name, value, hint, "")
    if hint is bool and not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def _number(name: str, value: Any, kind: type[Any], where: str) -> Any:
    wanted = numbers.Integral if kind is int else numbers.Real
    if isinstance(value, bool) or not isinstance(value, wanted):
        word = "an integer" if kind is int else "a number"
        raise TypeError(f"{name} must be {word}{where}, got {value!r} of type {type(value).__name__}")
    if math.isnan(float(value)):
        raise ValueError(f"{name} must be a number{where}, got nan")
    return kind(value)


def _words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(argument) for argument in arguments)
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin is Annotated:
        return f"{arguments[0].__name__} in {arguments[1].text}"
    if hint is type(None):
        return "None"
    return getattr(hint, "__name__", str(hint)).replace("typing.", "")


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

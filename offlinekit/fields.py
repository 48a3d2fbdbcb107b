"""Fields written once: a type, a range and a meaning as data, from which values are checked and described."""

from __future__ import annotations

import json
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from offlinekit.errors import did_you_mean
from offlinekit.ground.hints import hint


@dataclass(frozen=True)
class Interval:
    """The range of a number, such as "(0, 1]"."""

    text: str

    @property
    def bounds(self) -> tuple[float, float]:
        """The lower and the upper end."""
        low, high = (float(bound) for bound in self.text[1:-1].split(","))
        return low, high

    @property
    def is_open(self) -> tuple[bool, bool]:
        """Whether the lower and the upper end lie outside."""
        return self.text[0] == "(", self.text[-1] == ")"

    def contains(self, value: float) -> bool:
        """Returns whether a number lies within."""
        (low, high), (low_open, high_open) = self.bounds, self.is_open
        return (low < value or (value == low and not low_open)) and (
            value < high or (value == high and not high_open)
        )


@dataclass(frozen=True)
class Check:
    """A check of a value that no type and no interval expresses.

    Attributes:
        function: Raises TypeError or ValueError for a value that does not pass.
        words: The kind of value, such as "encoder".
        convert: Makes of what is given what is checked and kept, such as a name of an object.
    """

    function: Callable[[Any], object]
    words: str
    convert: Callable[[Any], object] = lambda value: value


@dataclass(frozen=True)
class Described:
    """One field of a class, as data.

    Attributes:
        name: Its keyword.
        default: Its default.
        kind: Its type and range, in words.
        meaning: One line, with the unit.
    """

    name: str
    default: object
    kind: str
    meaning: str


Finite = Annotated[float, Interval("(-inf, inf)")]
Positive = Annotated[float, Interval("(0, inf)")]
NonNegative = Annotated[float, Interval("[0, inf)")]
Probability = Annotated[float, Interval("[0, 1]")]
Fraction = Annotated[float, Interval("(0, 1)")]
Rate = Annotated[float, Interval("(0, 1]")]
Count = Annotated[int, Interval("[1, inf)")]
Steps = Annotated[int, Interval("[0, inf)")]


def checked(name: str, value: object, hint: object) -> Any:
    """Checks a value against its annotation; returns numbers, of numpy too, as plain Python ones.

    Args:
        name: Of the field, for messages.
        value: What was given.
        hint: A type; Literal, Annotated with an `Interval` or a `Check`, and unions with None are resolved.

    Raises:
        TypeError: For a value of another type.
        ValueError: For a number out of range or an unknown choice.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if type(None) in arguments and value is None:
            return None
        rest = [a for a in arguments if a is not type(None)]
        return checked(name, value, rest[0]) if len(rest) == 1 else value
    if origin is Literal:
        if value not in arguments:
            hint_text = did_you_mean(str(value), map(str, arguments))
            raise ValueError(f"{name} must be one of {list(arguments)}, got {value!r}{hint_text}")
        return value
    if origin is Annotated:
        return _annotated(name, value, hint)
    if hint in (int, float):
        return _number(name, value, hint, "")
    if hint is bool and not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    if hint is str and not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {value!r} of type {type(value).__name__}")
    return value


def _annotated(name: str, value: object, hint: object) -> object:
    kind = typing.get_args(hint)[0]
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Interval):
            number = _number(name, value, kind, f" in {part.text}")
            if not part.contains(number):
                meant = "" if number else _about_zero(name)
                raise ValueError(f"{name} must be in {part.text}, got {value}{meant}")
            return number
        if isinstance(part, Check):
            value = part.convert(value)
            part.function(value)
            return value
    return checked(name, value, kind)


def _about_zero(name: str) -> str:
    return hint("zero as a value", name)


def _number(name: str, value: object, kind: type[Any], where: str) -> float:
    wanted = numbers.Integral if kind is int else numbers.Real
    if isinstance(value, bool) or not isinstance(value, wanted):
        word = "an integer" if kind is int else "a number"
        meant = hint("function as a value", name) if callable(value) else ""
        raise TypeError(
            f"{name} must be {word}{where}, got {value!r:.100} of type {type(value).__name__}{meant}"
        )
    if math.isnan(float(value)):
        raise ValueError(f"{name} must be a number{where}, got nan")
    number: float = kind(value)
    return number


def parse_pairs(texts: Iterable[str]) -> dict[str, Any]:
    """Returns texts of the form key=value as a dict: values that are JSON as such, others as text.

    Raises:
        ValueError: For a text without a key or an equals sign.
    """
    parsed = {}
    for given in texts:
        key, separator, text = given.partition("=")
        if not separator or not key.strip():
            raise ValueError(f"expected KEY=VALUE, such as alpha=2.5, got {given!r}")
        try:
            parsed[key.strip()] = json.loads(text)
        except ValueError:
            parsed[key.strip()] = {"None": None, "True": True, "False": False}.get(text, text)
    return parsed


def kind_in_words(hint: object) -> str:
    """Returns the type and range of an annotation in words, such as "int in [1, inf) or None"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind_in_words(argument) for argument in arguments)
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin is Annotated:
        for part in getattr(hint, "__metadata__", ()):
            if isinstance(part, Interval):
                return f"{kind_in_words(arguments[0])} in {part.text}"
            if isinstance(part, Check):
                return part.words
        return kind_in_words(arguments[0])
    if hint is type(None):
        return "None"
    return getattr(hint, "__name__", str(hint)).replace("typing.", "")


def meaning_of(hint: object) -> str:
    """Returns the words of an annotation, as `Annotated[Count, "Rows in a minibatch."]` has them; "" without any."""
    words = [part for part in getattr(hint, "__metadata__", ()) if isinstance(part, str)]
    return words[0] if words else ""

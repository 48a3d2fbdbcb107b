"""Moves of hyperparameters within their search space: symmetric, never outside, never stuck."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from offlinekit.sweeps.space import Range

Value: TypeAlias = "float | int | str | bool | None"
Choices: TypeAlias = "Range | Sequence[Value]"
Rng: TypeAlias = np.random.Generator


def drawn(space: Choices, rng: Rng) -> Value:
    """Returns a value of a space, uniform in the coordinate of a range."""
    if isinstance(space, Range):
        return at(space, float(rng.random()))
    return space[int(rng.integers(len(space)))]


def moved(space: Choices, value: Value, rng: Rng, factor: float = 1.2) -> Value:
    """Returns another value of a space: up or down with equal chance, back from the bounds, never the same one.

    In a logarithmic range a move multiplies or divides by the factor, in a linear one it adds or subtracts
    (factor - 1) / 2 of the width; a list gives another of its values. As the step is as likely up as down at each
    place and turns back at the bounds, many moves spread evenly over the range. Whole numbers change by at least 1.

    Args:
        space: Of the hyperparameter.
        value: Where it is.
        rng: Of the draws.
        factor: Above 1.
    """
    if not isinstance(space, Range):
        others = [other for other in space if other != value]
        return others[int(rng.integers(len(others)))] if others else value
    place, number = unit(space, _number(value)), _number(value)
    upwards = bool(rng.integers(2))
    for direction in (1, -1) if upwards else (-1, 1):
        new = at(space, _folded(place + direction * _step(space, factor)))
        if space.integer and new == number:
            new = int(number) + direction
        if new != number and space.low <= new <= space.high:
            return new
    return value


def unit(space: Range, value: float) -> float:
    """Returns the coordinate in [0, 1] in which a range is uniform."""
    low, high, place = (_scaled(space, number) for number in (space.low, space.high, value))
    return (place - low) / (high - low)


def at(space: Range, place: float) -> float | int:
    """Returns the number at a coordinate in [0, 1] of a range, never outside of it."""
    low, high = _scaled(space, space.low), _scaled(space, space.high)
    number = low + min(max(place, 0.0), 1.0) * (high - low)
    number = min(max(math.exp(number) if space.log else number, space.low), space.high)
    return min(max(round(number), math.ceil(space.low)), math.floor(space.high)) if space.integer else number


def truncated(space: Range, value: float, rng: Rng, kind: type) -> float | int:
    """Returns a value times 0.8 or 1.2, clipped to the bounds and cut to a whole number, as AgileRL moves it.

    Below 5 no whole number can grow; kept for comparison.
    """
    new = min(max(value * (0.8, 1.2)[int(rng.integers(2))], space.low), space.high)
    return int(new) if kind is int else float(new)


def holds(space: Choices, value: Value) -> bool:
    """Returns whether a value lies in a space."""
    if not isinstance(space, Range):
        return any(other == value for other in space)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and space.low <= _number(value) <= space.high


def _step(space: Range, factor: float) -> float:
    """Returns the length of a move in the coordinate, at most half of it."""
    share = math.log(factor) / math.log(space.high / space.low) if space.log else (factor - 1) / 2
    return min(share, 0.5)


def _folded(place: float) -> float:
    """Returns a coordinate in [-1, 2] reflected at 0 and 1."""
    return -place if place < 0 else 2 - place if place > 1 else place


def _scaled(space: Range, number: float) -> float:
    return math.log(number) if space.log else float(number)


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a range holds numbers, got {value!r}; search over a list in place of it")
    return value

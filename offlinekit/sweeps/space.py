"""Search spaces: lists of values, and ranges of numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from offlinekit.errors import did_you_mean
from offlinekit.ground.hints import answers_keywords

LARGEST = 100_000
"""The most settings of a grid."""


@answers_keywords
@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: The least.
        high: The largest.
        log: Whether their logarithms are uniform, not they themselves.
        integer: Whether they are whole.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        numbers = (self.low, self.high)
        if any(
            isinstance(n, bool) or not isinstance(n, (int, float)) or not math.isfinite(n) for n in numbers
        ):
            raise TypeError(f"a range needs two numbers, low and high, got {self.low!r} and {self.high!r}")
        if self.low >= self.high:
            raise ValueError(f"a range needs low < high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range needs low > 0, got {self.low}")

    def to_json(self) -> dict[str, Any]:
        """Returns the range as plain data."""
        return {"low": self.low, "high": self.high, "log": self.log, "integer": self.integer}


Space: TypeAlias = "dict[str, list[Any] | Range]"


def parse(vary: Mapping[str, Any]) -> Space:
    """Returns a search space of plain data: for each name a list, {"low": ..., "high": ...} or a Range.

    Raises:
        TypeError: For something else.
        ValueError: For an empty list, unknown keys of a range, or a range that is none.
    """
    space: Space = {}
    for name, values in vary.items():
        if isinstance(values, Mapping):
            values = _range(name, values)
        if not isinstance(values, (list, tuple, Range)):
            raise TypeError(
                f"{name} must vary over a list, such as [0.5, 1, 2.5], or a range, such as "
                f'{{"low": 1e-4, "high": 1e-2, "log": true}}, got {values!r}'
            )
        if not isinstance(values, Range) and not values:
            raise ValueError(f"{name} must vary over at least one value, got none")
        space[name] = values if isinstance(values, Range) else list(values)
    return space


def _range(name: str, values: Mapping[str, Any]) -> Range:
    known = ("low", "high", "log", "integer")
    for key in values:
        if key not in known:
            raise ValueError(
                f"a range has the keys {known}, {name} has {key!r}{did_you_mean(str(key), known)}"
            )
    if not {"low", "high"} <= values.keys():
        raise ValueError(f"a range needs low and high, {name} has {dict(values)}")
    return Range(**values)


def grid(space: Space) -> list[dict[str, Any]]:
    """Returns every combination of the values, the last name changing fastest.

    Raises:
        ValueError: For ranges, or too many combinations.
    """
    ranges = [name for name, values in space.items() if isinstance(values, Range)]
    if ranges:
        raise ValueError(f"a grid is made of lists, but {ranges[0]} has a range; give trials= to search it")
    lists = [values for values in space.values() if not isinstance(values, Range)]
    if (count := math.prod(map(len, lists))) > LARGEST:
        raise ValueError(
            f"a grid has at most {LARGEST:,} settings, this one has {count:,}; search it with trials="
        )
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]


def corners(space: Space) -> list[dict[str, Any]]:
    """Returns settings with each value of each list and both ends of each range at least once."""
    values = {name: [v.low, v.high] if isinstance(v, Range) else v for name, v in space.items()}
    longest = max(map(len, values.values()), default=1)
    return [{name: v[i % len(v)] for name, v in values.items()} for i in range(longest)]

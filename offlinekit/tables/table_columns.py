"""The columns of a table: what their cells mean, and the numbers that they become.

The standard library and numpy suffice, so that this folder can be copied beside `deploy.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

UNKNOWN = "unknown"
"""The class of labels that are none of the declared categories."""
KINDS = ("number", "category", "order", "time", "yes/no")
RULES = ("refuse", "mean", "median", "most_frequent", "constant")
GAPS = {"", "na", "n/a", "#n/a", "nan", "null", "nat", "<na>"}
"""Texts of a cell without a value, in small letters; unless they are categories of its column."""
WORDS = {
    **dict.fromkeys(("no", "n", "false", "f", "0", "0.0"), 0.0),
    **dict.fromkeys(("yes", "y", "true", "t", "1", "1.0"), 1.0),
}
EPOCH = datetime(1970, 1, 1)  # Times are kept in UTC without a zone.
SECONDS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}


class TableError(ValueError):
    """A schema that means nothing, or a table that does not fit its schema."""


@dataclass(frozen=True)
class TableColumn:
    """What a column of a table means.

    Attributes:
        name: In the header.
        kind: "number"; "category", one-hot with a class for unknown labels; "order", the place among the categories;
            "time", since the first one of the data; "yes/no".
        categories: Labels, of an order from the lowest; of yes/no the word for no and the word for yes.
        unit: Of numbers, for people; of times seconds, minutes, hours or days.
        gaps: "refuse", or what stands for a missing value: "mean", "median", "most_frequent" or "constant". A column
            with a rule has an indicator of its gaps.
        fill: The value that stands for a gap, fitted to the data unless it is given.
        low, high: The range of numbers; others are refused. Of an action the bounds of its space.
        origin: The time that counts as 0, fitted to the data unless it is given.
        embed: Of a category of an observation: in how many numbers networks embed it; 0 leaves it one-hot.

    Raises:
        TableError: For what means nothing.
    """

    name: str
    kind: str = "number"
    categories: tuple[str, ...] = ()
    unit: str = ""
    gaps: str = "refuse"
    fill: str | float | None = None
    low: float = -math.inf
    high: float = math.inf
    origin: str | None = None
    embed: int = 0

    def __post_init__(self) -> None:
        for what, given, known in (("kind", self.kind, KINDS), ("gaps", self.gaps, RULES)):
            if given not in known:
                raise self.error(f"has {what} {given!r}, expected one of {', '.join(known)}")
        labelled, n = self.kind in ("category", "order"), len(self.categories)
        if labelled != bool(n) and not (self.kind == "yes/no" and n == 2):
            wanted = "categories" if labelled else "none, or the words for no and yes if it is yes/no"
            raise self.error(f"of kind {self.kind} needs {wanted}, got categories {list(self.categories)}")
        if len(set(self.categories)) < n:
            raise self.error(f"has a category twice in {list(self.categories)}; leave one out")
        if self.gaps in ("mean", "median") and (labelled or self.kind == "yes/no"):
            raise self.error(f"holds labels, which have no {self.gaps}; give gaps: most_frequent or constant")
        if self.gaps == "constant" and self.fill is None:
            raise self.error("has gaps: constant without its value; give fill: as well")
        if self.kind == "time" and self.unit not in ("", *SECONDS):
            raise self.error(f"counts times in {self.unit!r}, expected one of {', '.join(SECONDS)}")
        if isinstance(self.embed, bool) or not isinstance(self.embed, int) or self.embed < 0:
            raise self.error(f"has embed {self.embed!r}, expected a whole number, 0 for one-hot")
        if self.embed and (self.kind != "category" or self.embed > n + 1):
            raise self.error(
                f"has embed {self.embed}, and is of kind {self.kind} with {n} categories; embed a category, in at most "
                "as many numbers as it has labels and the class for unknown ones"
            )
        if not self.low <= self.high:
            raise self.error(f"has low {self.low} above high {self.high}")
        try:
            if self.origin is not None:
                datetime.fromisoformat(self.origin)
            if self.fill is not None:
                _time(self.fill, "") if self.kind == "time" else self._number(self.fill)
        except (ValueError, TypeError) as error:
            raise self.error(
                f"{self._expected()}, got fill {self.fill!r} and origin {self.origin!r}"
            ) from error

    @functools.cached_property
    def _places(self) -> dict[str, float]:
        """The place of each category."""
        return {label: float(place) for place, label in enumerate(self.categories)}

    def error(self, message: str) -> TableError:
        """Returns an error that names the column."""
        return TableError(f"column {self.name!r} {message}")

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the numbers that the column becomes in an observation."""
        labels = [f"{self.name}={label}" for label in (*self.categories, UNKNOWN)]
        indicator = () if self.gaps == "refuse" else (f"{self.name} is missing",)
        return (*(labels if self.kind == "category" else [self.name]), *indicator)

    def fitted(self, cells: Array, time_format: str) -> TableColumn:
        """Returns the column with the value for gaps and the first time, as the data have them."""
        column = self
        if self.kind == "time" and self.origin is None:
            times = self._seconds(cells, time_format)
            first = 0.0 if np.isnan(times).all() else float(np.nanmin(times))
            column = dataclasses.replace(
                self, origin=(EPOCH + timedelta(seconds=math.floor(first))).isoformat()
            )
        if column.gaps == "refuse" or column.fill is not None:
            return column
        values = column.numbers(cells, time_format)
        known = values[~np.isnan(values)]
        if not len(known):
            raise self.error(f"has no value at all, so none is its {self.gaps}; leave the column out")
        return dataclasses.replace(column, fill=column._cell(_statistic(known, self.gaps)))

    def encode(self, cells: Array, time_format: str = "") -> Array:
        """Returns the numbers [N, F] of cells [N], float64, without a gap.

        Raises:
            TableError: For a cell that is none of its kind, or that has no value though no rule is stated.
        """
        values = self.numbers(cells, time_format)
        missing = np.isnan(values)
        if missing.any():
            if self.gaps == "refuse":
                rule = "most_frequent" if self.categories or self.kind == "yes/no" else "median"
                raise self.error(
                    f"has no value at row {int(np.argmax(missing))} ({int(missing.sum()):,} of {len(values):,}); fill "
                    f"it or leave the row out; for an observation the schema may state a rule, such as gaps: {rule}"
                )
            values = np.where(missing, self._number_of_fill(time_format), values)
        parts = [values[:, None]]
        if self.kind == "category":
            parts = [(values[:, None] == np.arange(len(self.categories) + 1)).astype(np.float64)]
        return np.concatenate([*parts, *([] if self.gaps == "refuse" else [missing[:, None]])], axis=1)

    def numbers(self, cells: Array, time_format: str = "") -> Array:
        """Returns one number a cell, float64 [N], NaN for gaps: of a label its place among the categories."""
        if self.kind == "time":
            if self.origin is None:
                raise self.error(
                    "has no origin; use the schema of the dataset, or fit it: schema.fitted(rows)"
                )
            since = self._seconds(cells, time_format) - _seconds_of(datetime.fromisoformat(self.origin))
            return np.asarray(since / SECONDS[self.unit or "days"])
        if self.kind == "number" and cells.dtype.kind in "iufb":
            values = cells.astype(np.float64)
        else:
            values = self._each(cells, self._number)
        wrong = (values < self.low) | (values > self.high) | np.isinf(values)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise self.error(
                f"must lie from {self.low} to {self.high} and be finite, got {cells[row]} at row {row}"
            )
        return values

    def _seconds(self, cells: Array, time_format: str) -> Array:
        if cells.dtype.kind == "M":
            seconds = cells.astype("datetime64[us]").astype(np.float64) / 1e6
            return np.where(np.isnat(cells), np.nan, seconds)
        return self._each(cells, lambda cell: _seconds_of(_time(cell, time_format)))

    def _each(self, cells: Array, number: Callable[[object], float]) -> Array:
        """Returns a number for each cell, computed once for equal ones; NaN for gaps."""
        seen: dict[tuple[type, object], float] = {}
        values = np.empty(len(cells))
        for row, cell in enumerate(cells.tolist() if cells.dtype.kind != "O" else cells):
            try:
                key = (type(cell), cell)
                if key not in seen:
                    seen[key] = math.nan if self._is_gap(cell) else number(cell)
                values[row] = seen[key]
            except (ValueError, TypeError, OverflowError) as error:
                hint = did_you_mean(str(cell), self.categories)
                raise self.error(f"{self._expected()}, got {cell!r:.80} at row {row}{hint}") from error
        return values

    def is_missing(self, cells: Array) -> Array:
        """Returns which cells have no value, bool [N]."""
        if cells.dtype.kind == "M":
            return np.isnat(cells)
        return np.array([self._is_gap(cell) for cell in cells.tolist()], np.bool_)

    def _is_gap(self, cell: object) -> bool:
        if isinstance(cell, str):
            text = cell.strip()
            is_empty = text.lower() in GAPS or (self.kind == "number" and text.lower() == "none")
            return is_empty and text not in self.categories
        return cell is None or type(cell).__name__ in ("NAType", "NaTType") or bool(cell != cell)

    def _number(self, cell: object) -> float:
        if self.kind == "number":
            if isinstance(cell, str) and "_" in cell:
                raise ValueError(cell)
            return float(cell)  # type: ignore[arg-type]  # What cannot be one raises.
        label = label_of(cell)
        if self.kind == "yes/no" and not self.categories and label.lower() in WORDS:
            return WORDS[label.lower()]
        if label in self._places:
            return self._places[label]
        if self.kind == "category":
            return float(len(self.categories))
        raise ValueError(label)

    def _expected(self) -> str:
        if self.kind == "number":
            return "must hold numbers"
        if self.kind == "time":
            return "must hold times, as dates or texts of ISO 8601 or of time_format"
        known = self.categories if len(self.categories) <= 12 else (*self.categories[:12], "...")
        return f"must hold one of {', '.join(known) or 'yes, no, true, false, 1, 0'}"

    def _number_of_fill(self, time_format: str) -> float:
        if self.fill is None:
            raise self.error(
                "has no value for gaps yet; use the schema of the dataset, or schema.fitted(rows)"
            )
        if self.kind == "time":
            return float(self.numbers(np.array([self.fill], object), "")[0])
        return self._number(self.fill)

    def _cell(self, number: float) -> str | float:
        """Returns what a number stands for, as `fill` holds it."""
        if self.kind == "time":
            start = datetime.fromisoformat(str(self.origin))
            return (start + timedelta(seconds=number * SECONDS[self.unit or "days"])).isoformat()
        labels = (
            ("no", "yes") if self.kind == "yes/no" and not self.categories else (*self.categories, UNKNOWN)
        )
        return number if self.kind == "number" else labels[int(number)]

    def to_json(self) -> dict[str, object]:
        """Returns what differs from the defaults, as plain data."""
        facts = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        kept = {
            key: value for key, value in facts.items() if key in ("name", "kind") or value != defaults[key]
        }
        return {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}

    @staticmethod
    def from_json(data: object) -> TableColumn:
        """Returns what `to_json` described; numbers may be texts, as YAML may have them.

        Raises:
            TableError: For data that describe no column.
        """
        known = [f.name for f in dataclasses.fields(TableColumn)]
        facts = named(data, known, "a column")
        if not isinstance(facts.get("name"), str) or not facts["name"]:
            raise TableError(f"a column must have a name, got {data!r:.200}")
        if "categories" in facts:
            facts["categories"] = tuple(
                label_of(label) for label in listed(facts["categories"], "categories")
            )
        try:
            for bound in facts.keys() & {"low", "high"}:
                facts[bound] = float(facts[bound])
            if facts.get("fill") is not None and facts.get("kind", "number") == "number":
                facts["fill"] = float(facts["fill"])
            if isinstance(facts.get("embed"), str):
                facts["embed"] = int(facts["embed"])
        except (TypeError, ValueError) as error:
            raise TableError(
                f"column {facts['name']!r} must have numbers as low, high, fill and embed ({error})"
            ) from error
        return TableColumn(**facts)


def label_of(cell: object) -> str:
    """Returns a cell as a label: 1.0 is "1", as a table with gaps would have it otherwise."""
    text = str(cell).strip()
    return text[:-2] if text.endswith(".0") and text[:-2].lstrip("-").isdigit() else text


def _time(cell: object, time_format: str) -> datetime:
    if isinstance(cell, str):
        text = cell.strip()
        if time_format:
            return datetime.strptime(text, time_format)  # Without a zone they are UTC.
        return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if isinstance(cell, np.datetime64):
        return EPOCH + timedelta(seconds=float(cell.astype("datetime64[us]").astype(np.int64)) / 1e6)
    if isinstance(cell, datetime):
        return cell
    if isinstance(cell, date):
        return datetime(cell.year, cell.month, cell.day)
    raise TypeError(cell)


def _seconds_of(time: datetime) -> float:
    if time.tzinfo is not None:
        time = time.astimezone(timezone.utc).replace(tzinfo=None)
    return (time - EPOCH).total_seconds()


def _statistic(values: Array, rule: str) -> float:
    if rule == "most_frequent":
        distinct, counts = np.unique(values, return_counts=True)
        return float(distinct[np.argmax(counts)])
    return float(values.mean() if rule == "mean" else np.median(values))


def named(data: object, known: Sequence[str], what: str) -> dict[str, Any]:
    """Returns plain data that must be a dict with some of the known names."""
    if not isinstance(data, Mapping):
        raise TableError(f"{what} must be names and values, got {data!r:.100}")
    for name in data:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise TableError(f"{what} has no field {name!r}{hint}; its fields are {', '.join(known)}")
    return dict(data)


def listed(data: object, what: str) -> list[object]:
    """Returns plain data that must be a list."""
    if not isinstance(data, (list, tuple)):
        raise TableError(f"{what} must be a list, got {data!r:.100}")
    return list(data)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the nearest name as the end of a message; nothing if none is near."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""

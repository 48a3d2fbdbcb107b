"""Lineage of an evolution: who descends from whom by which move, as rows of lineage.csv."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeAlias

from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write, read_small

Value: TypeAlias = "float | int | str | bool | None"
FILE, CONFIG = "lineage.csv", "evolution.json"


@dataclass(frozen=True)
class LineageRow:
    """One member in one generation.

    Attributes:
        generation: From 1 on.
        member: Number of its place.
        parent: Number of the place in the generation before that it descends from; None if from none.
        move: What was done to it before it trained, in words; empty for nothing.
        fitness: By which it was ranked; higher is better.
        value: What was estimated or measured.
        spread: Standard error of the value.
        held_back: Why it ranked behind all others; empty if it did not.
        updates: Taken so far by its line.
        architecture: Sizes of its networks.
        values: Its hyperparameters of the search.
    """

    generation: int
    member: int
    parent: int | None
    move: str
    fitness: float
    value: float
    spread: float
    held_back: str
    updates: int
    architecture: str
    values: dict[str, Value] = field(default_factory=dict)


COLUMNS = tuple(field.name for field in fields(LineageRow) if field.name != "values")


class Lineage:
    """Rows of all generations so far, in order.

    Args:
        rows: Of whole generations.
    """

    def __init__(self, rows: Iterable[LineageRow] = ()) -> None:
        self.rows = list(rows)

    @property
    def last(self) -> int:
        """Number of the newest generation; 0 without one."""
        return self.rows[-1].generation if self.rows else 0

    def generation(self, number: int) -> list[LineageRow]:
        """Returns the members of a generation."""
        return [row for row in self.rows if row.generation == number]

    def line(self, member: int, generation: int | None = None) -> list[LineageRow]:
        """Returns a member of a generation, the newest by default, and its ancestors, the oldest first."""
        by_place = {(row.generation, row.member): row for row in self.rows}
        number = self.last if generation is None else generation
        line: list[LineageRow] = []
        place: int | None = member
        while place is not None and (number, place) in by_place:
            line.append(by_place[number, place])
            number, place = number - 1, line[-1].parent
        return line[::-1]

    def average(self, member: int, n: int, generation: int | None = None) -> float:
        """Returns the mean of the last n fitnesses of a line; -inf for a member that is held back."""
        line = self.line(member, generation)
        if line[-1].held_back or not math.isfinite(line[-1].fitness):
            return -math.inf
        last = [row.fitness for row in line if math.isfinite(row.fitness) and not row.held_back][-n:]
        return sum(last) / len(last)

    def ranking(self, n: int, generation: int | None = None) -> list[int]:
        """Returns the members of a generation, the best average of the last n first; of equals the lower number."""
        members = [row.member for row in self.generation(self.last if generation is None else generation)]
        return sorted(members, key=lambda member: -self.average(member, n, generation))

    def until(self, generation: int) -> Lineage:
        """Returns the rows up to a generation."""
        return Lineage(row for row in self.rows if row.generation <= generation)

    def write(self, folder: Path) -> None:
        """Writes lineage.csv, atomically."""
        names = list(dict.fromkeys(name for row in self.rows for name in row.values))
        with atomic_write(folder / FILE) as beside, beside.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow([*COLUMNS, *names])
            for row in self.rows:
                own = ["" if (v := getattr(row, name)) is None else v for name in COLUMNS]
                table.writerow([*own, *(json.dumps(row.values.get(name)) for name in names)])

    @classmethod
    def read(cls, folder: Path) -> Lineage:
        """Reads lineage.csv.

        Raises:
            FileNotFoundError: If the folder is none of an evolution.
            FileFormatError: For a damaged file.
        """
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is no folder of an evolution: it has no {FILE}")
        lines = read_small(path).decode("utf-8", "replace").splitlines()
        head, *rows = list(csv.reader(lines)) or [[]]
        if tuple(head[: len(COLUMNS)]) != COLUMNS:
            raise FileFormatError(
                f"{path} has the columns {head[:12]}, not {list(COLUMNS)}; restore it from a copy"
            )
        try:
            return cls(_row(head, row) for row in rows)
        except (ValueError, IndexError) as error:
            raise FileFormatError(f"{path} is damaged ({error}); restore it from a copy") from error


def average_of(folder: Path) -> int:
    """Returns how many fitnesses of a line rank it, as the scheduler of an evolution has it; 1 where nothing says so.

    Raises:
        FileFormatError: For a damaged evolution.json.
    """
    path = folder / CONFIG
    try:
        average = json.loads(read_small(path))["scheduler"]["average"]
    except (FileNotFoundError, KeyError):
        return 1
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is damaged ({error}); restore it from a copy") from error
    if isinstance(average, bool) or not isinstance(average, int) or average < 1:
        raise FileFormatError(
            f"{path} is damaged: average must be a whole number from 1 on, got {average!r:.100}; restore it from a copy"
        )
    return average


def _row(head: Sequence[str], row: Sequence[str]) -> LineageRow:
    if len(row) != len(head):
        raise ValueError(f"a row has {len(row)} columns, the head {len(head)}")
    own = dict(zip(head, row, strict=True))
    return LineageRow(
        generation=int(own["generation"]),
        member=int(own["member"]),
        parent=int(own["parent"]) if own["parent"] else None,
        move=own["move"],
        fitness=float(own["fitness"]),
        value=float(own["value"]),
        spread=float(own["spread"]),
        held_back=own["held_back"],
        updates=int(own["updates"]),
        architecture=own["architecture"],
        values={name: json.loads(own[name]) for name in head[len(COLUMNS) :]},
    )

"""Evolutions in a report: a table of generations, and the picture of the lineage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError
from offlinekit.io import read_small
from offlinekit.metrics.reporting.lineage import FILE, Lineage, average_of
from offlinekit.metrics.reporting.plots import readable
from offlinekit.metrics.reporting.report_tables import Table
from offlinekit.metrics.statistics.budget import Budget

RESULT = "result.json"
NUMBERS = ("value", "low", "high")
CAPTION = (
    "Above: who descends from whom; the blue line leads to the best member of the last generation. Marks say what was "
    "done before training: triangles for wider and narrower networks, a diamond for a new layer, a star for noise, a "
    "square for a hyperparameter; red was held back. Below: fitness and hyperparameters, from parent to child."
)
HEAD = ("generation", "best member", "fitness", "mean fitness", "held back", "architecture")


def find_evolutions(paths: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """Returns the folders of evolutions among paths and one level below them, and the paths that hold others."""
    evolutions: dict[Path, None] = {}
    others = []
    for path in map(Path, paths):
        inside = [path] if (path / FILE).is_file() else sorted(file.parent for file in path.glob(f"*/{FILE}"))
        evolutions.update(dict.fromkeys(inside))
        if not inside or any(path.glob("*/config.json")):
            others.append(path)
    return list(evolutions), others


def generations_table(folder: Path) -> Table:
    """Returns the best member of each generation of an evolution, as the run ranked them, and what its winner is worth.

    Raises:
        FileFormatError: For damaged files.
    """
    lineage = Lineage.read(folder)
    if not lineage.rows:
        raise FileFormatError(f"{folder / FILE} has no generation; restore it from a copy")
    names = [*lineage.rows[0].values]
    average = average_of(folder)
    rows = [_row(lineage, number, names, average) for number in range(1, lineage.last + 1)]
    updates = len(lineage.generation(1)) * lineage.rows[-1].updates
    budget = Budget(policies=len(lineage.generation(1)), updates=updates)
    return Table(f"Evolution in {folder.name}", (*HEAD, *names), rows, _note(folder), budget)


def _row(lineage: Lineage, number: int, names: Sequence[str], average: int) -> tuple[str, ...]:
    members = lineage.generation(number)
    first = lineage.ranking(average, number)[0]
    best = next(row for row in members if row.member == first)
    finite = [row.fitness for row in members if math.isfinite(row.fitness)]
    mean = sum(finite) / len(finite) if finite else math.nan
    return (
        str(number),
        str(best.member),
        readable(best.fitness),
        readable(mean),
        str(sum(bool(row.held_back) for row in members)),
        best.architecture,
        *(_text(best.values.get(name)) for name in names),
    )


def _text(value: object) -> str:
    return "-" if value is None else readable(value) if isinstance(value, float) else str(value)


def _note(folder: Path) -> str:
    """Returns what the winner is worth by the judge that chose nothing, if the run has come to its end."""
    result = _result(folder)
    if result is None:
        return "The run has not come to its end, so nobody has judged a winner."
    low, high = result["low"], result["high"]
    interval = "" if low is None else f", 95% interval {readable(low)} to {readable(high)}"
    return f"The winner is worth {readable(result['value'])}{interval}, by {result['source']}."


def winner_of(folder: Path) -> int | None:
    """Returns the place of the winner in the last generation; None before the run has come to its end."""
    result = _result(folder)
    return None if result is None else int(result["member"])


def _result(folder: Path) -> dict[str, Any] | None:
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = json.loads(read_small(path))
        numbers = {name: None if result[name] is None else float(result[name]) for name in NUMBERS}
        return {**numbers, "member": int(result["member"]), "source": str(result["source"])}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged ({error}); restore it from a copy") from error

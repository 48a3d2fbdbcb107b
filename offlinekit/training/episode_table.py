"""returns.csv: every evaluated episode of a run, one row each."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offlinekit.io import atomic_write

EPISODES = "episodes"
"""Key under which an evaluator returns columns of numbers, one an episode, beside its metrics."""
COLUMNS = ("step", "episode", "seed", "return", "length", "value_start")


class EpisodeTable:
    """The episodes of a run's evaluations; the file is replaced whole after each evaluation.

    Args:
        path: Of the file.
        reached: Update of the last row that a run goes on from; what was measured later is measured again.
    """

    def __init__(self, path: Path, reached: int | None = None) -> None:
        self.path = path
        self.rows: list[list[Any]] = []
        if reached is not None and path.is_file():
            with path.open(newline="") as file:
                kept = csv.DictReader(file)
                self.rows = [[row[name] for name in COLUMNS] for row in kept if int(row["step"]) <= reached]
            self._write()

    def add(self, step: int, columns: Mapping[str, Any]) -> None:
        """Adds an evaluation.

        Args:
            step: Updates taken before it.
            columns: [n] each: "seed", "return", "length" and, if the policy has one, "value_start".
        """
        values = [list(columns.get(name, ())) for name in COLUMNS[2:]]
        for episode in range(len(values[0])):
            self.rows.append([step, episode, *(column[episode] if column else "" for column in values)])
        self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as beside, beside.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(self.rows)

"""Logs of the metrics of a run: a CSV file and a progress bar; those of other tools are in trackers.py."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from offlinekit.io import atomic_write, reraise_as_write_error
from offlinekit.training import manifest


class Logger(Protocol):
    """The rows of a run, as loggers receive them."""

    def log(self, row: dict[str, Any]) -> None:
        """Logs one row of the history: "step", "time" in seconds, metrics."""

    def close(self) -> None:
        """Ends the log."""


class CSVLogger:
    """metrics.csv: step, time, then the metrics by name; blank if one was not measured.

    Args:
        path: The file.
        history: Rows of a run that is resumed; the file is written anew with them.
    """

    def __init__(self, path: Path, history: list[dict[str, Any]]) -> None:
        self.path, self.rows = path, list(history)
        self.columns: list[str] = []
        if history:
            self._write_all()
            manifest.write(path.parent)

    def log(self, row: dict[str, Any]) -> None:
        """Appends a row; a new metric gets a column in a file written anew."""
        self.rows.append(row)
        if set(row) <= set(self.columns):
            with reraise_as_write_error(self.path), self.path.open("a", newline="") as file:
                csv.DictWriter(file, self.columns, restval="").writerow(row)
        else:
            self._write_all()
        manifest.write(self.path.parent)

    def _write_all(self) -> None:
        names = {name for row in self.rows for name in row} - {"step", "time"}
        self.columns = ["step", "time", *sorted(names)]
        with atomic_write(self.path) as beside, beside.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)

    def close(self) -> None:
        """Does nothing: each row is on disk already."""


class ProgressBar:
    """Updates done, their rate, and the newest losses and return; silent if stderr is no terminal.

    Args:
        label: Before the bar.
        total: Number of updates, or of another unit.
        done: Of them, those a resumed run has behind it.
        shown: False for silence everywhere.
        unit: What is counted.
    """

    def __init__(self, label: str, total: int, done: int, shown: bool, unit: str = "update") -> None:
        hidden = not (shown and sys.stderr.isatty())
        self.bar = tqdm(
            total=total, initial=done, desc=label, unit=f" {unit}s", disable=hidden, mininterval=0.2
        )

    def advance(self, n_updates: int) -> None:
        """Moves the bar on."""
        self.bar.update(n_updates)

    def log(self, row: dict[str, Any]) -> None:
        """Shows the losses and the mean return of a row."""
        shown = {name: f"{v:.3g}" for name, v in row.items() if name.endswith("_loss")}
        if "eval/return_mean" in row:
            shown["return"] = f"{row['eval/return_mean']:.1f}"
        self.bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        """Closes the bar, which stays visible."""
        self.bar.close()

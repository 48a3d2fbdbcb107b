"""What sees the rows of a run: its history, a CSV file, callbacks; loggers of other tools are in trackers.py."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from offlinekit.errors import require
from offlinekit.io import atomic_write, reraise_as_write_error
from offlinekit.training import manifest

if TYPE_CHECKING:
    import pandas

    from offlinekit.interfaces import Trainable

Row: TypeAlias = dict[str, Any]
"""One row of a history: "step", "time" in seconds, metrics."""


class Logger(Protocol):
    """The rows of a run, as loggers receive them."""

    def log(self, row: Row) -> None:
        """Logs one row of the history."""

    def close(self) -> None:
        """Ends the log."""


class CSVLogger:
    """metrics.csv: step, time, then the metrics by name; blank if one was not measured.

    Args:
        path: The file.
        history: Rows of a run that is resumed; the file is written anew with them.
    """

    def __init__(self, path: Path, history: list[Row]) -> None:
        self.path, self.rows = path, list(history)
        self.columns: list[str] = []
        if history:
            self._write_all()
            manifest.write(path.parent)

    def log(self, row: Row) -> None:
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


class History(list[Row]):
    """The rows of a run: "step", "time" in seconds, and what was measured at that step."""

    if not TYPE_CHECKING:

        def __getitem__(self, index: object) -> object:
            """Returns a row, or rows."""
            if isinstance(index, str):
                raise TypeError(
                    f"rows have numbers, got {index!r}; a column is algo.history.to_frame()[{index!r}]"
                )
            return super().__getitem__(index)

    def to_frame(self) -> pandas.DataFrame:
        """Returns the rows as a table of pandas, NaN for what was not measured.

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        require("pandas", "pandas")
        import pandas

        return pandas.DataFrame(list(self))


class Callback(Protocol):
    """An object that is called at the moments of a run; it may lack any of these methods.

    A function (algo, row) does as `on_row`.
    """

    def on_row(self, algo: Trainable, row: Row) -> bool | None:
        """Called at each row of the history; False ends the run there, as early stopping would."""

    def on_checkpoint(self, algo: Trainable, path: Path) -> None:
        """Called when a checkpoint was written."""

    def on_end(self, algo: Trainable) -> None:
        """Called when the run has come to its end and its last policy is written."""


class Callbacks:
    """The callbacks of a run.

    Args:
        algo: What is trained.
        callbacks: Functions, or objects with methods of `Callback`.

    Attributes:
        stopped: Whether one of them has ended the run.
    """

    def __init__(self, algo: Trainable, callbacks: Sequence[Callback | Callable[..., object]]) -> None:
        self.algo, self.callbacks, self.stopped = algo, callbacks, False

    def log(self, row: Row) -> None:
        """Calls `on_row` of each, or the function that it is."""
        for each in self.callbacks:
            call = getattr(each, "on_row", each if callable(each) else None)
            if call is not None and call(self.algo, row) is False:
                self.stopped = True

    def checkpoint(self, path: Path) -> None:
        """Calls `on_checkpoint` of those that have it."""
        for each in self.callbacks:
            if hasattr(each, "on_checkpoint"):
                each.on_checkpoint(self.algo, path)

    def end(self) -> None:
        """Calls `on_end` of those that have it."""
        for each in self.callbacks:
            if hasattr(each, "on_end"):
                each.on_end(self.algo)

    def close(self) -> None:
        """Does nothing."""

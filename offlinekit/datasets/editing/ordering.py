"""Rows put in the order of their episodes and times, by keys that are checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from offlinekit.datasets.episodes import DENIED
from offlinekit.datasets.findings import Finding, error_of, findings_of
from offlinekit.datasets.schema import Columns
from offlinekit.errors import DatasetError, DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array, rows

REGULAR = 0.9
"""Share of equal steps above which times count steps, so that a larger one is a gap."""


def in_order(episodes: Array, times: Array | None, key: str, fix: str) -> tuple[Array, Array]:
    """Returns the order of N rows by episode and time, and where episodes end in it, bool [N].

    Rows without times keep their order. Whole times that rise by one step nearly everywhere count steps: gaps
    among them are warned of.

    Args:
        episodes: [N] numbers by which episodes are sorted.
        times: [N] numbers, or None.
        key: What times are called in messages, such as "column 'hour'".
        fix: What to do about times that repeat.

    Raises:
        DatasetError: If a time occurs twice in an episode, or is not finite.
    """
    if times is not None and not np.isfinite(times).all():
        row = int(np.argmin(np.isfinite(times)))
        raise DatasetError(
            f"{key} must be finite, got {times[row]} at row {row}; give each step its own time"
        )
    order = np.lexsort((np.zeros(len(episodes)) if times is None else times, episodes))
    same = np.diff(episodes[order]) == 0
    if times is not None:
        steps = np.diff(times[order])
        twice = np.flatnonzero(same & (steps == 0))
        if len(twice):
            row = int(order[twice[0] + 1])
            raise DatasetError(
                f"{key} repeats {times[row]} within an episode, at row {row} ({len(twice)} times); {fix}"
            )
        _warn_of_gaps(steps[same], key)
    return order, np.append(~same, True)


def _warn_of_gaps(steps: Array, key: str) -> None:
    if len(steps) == 0 or steps.dtype.kind not in "iu":
        return
    step = int(steps.min())
    n_gaps = int(np.count_nonzero(steps != step))
    if 0 < n_gaps < (1 - REGULAR) * len(steps):
        warn_caller(
            f"{key} rises by {step}, but misses steps in {n_gaps} places; a transition there joins rows that do not "
            "follow one another: split those episodes, or fill the rows in",
            DatasetWarning,
        )


class SortedColumns(dict[str, Any]):
    """Arguments of MDPDataset whose rows stand in another order than in their file.

    Args:
        columns: Arguments by name, their rows in the file's order.
        order: int64 [N], the file's row of each row.
        flags: The table's columns by the arguments terminals, timeouts and episode_terminals, of those that it has.
    """

    def __init__(self, columns: Columns, order: Array, flags: Mapping[str, str] | None = None) -> None:
        super().__init__(
            {name: rows(column, order) for name, column in columns.items() if column is not None}
        )
        self.order = order
        self.flags = flags or {}

    def in_table(self, fault: Finding) -> Finding:
        """Returns a fault of the sorted columns in the words and with the row of the table."""
        moved = fault if fault.row is None else replace(fault, row=int(self.order[fault.row]))
        flag, ends = self.flags.get(fault.field), self.flags.get("episode_terminals")
        if flag is None or ends is None or fault.message != DENIED:
            return moved
        role = fault.field.removesuffix("s")
        return replace(
            moved,
            field=f"column {flag!r}",
            message=f"says that an episode ends where column {ends!r} goes on",
            fix=f"leave {role}={flag!r} out if it does not end there, leave episode={ends!r} out if it does, or name "
            "the time by which rows are sorted",
        )


def in_file(columns: Columns, faults: Iterable[Finding]) -> list[Finding]:
    """Returns faults of columns with the rows of their file, which is all that a user has."""
    if not isinstance(columns, SortedColumns):
        return list(faults)
    return [columns.in_table(fault) for fault in faults]


@contextmanager
def faults_in_file(columns: Columns) -> Iterator[None]:
    """Raises the faults of columns with the rows of their file."""
    try:
        yield
    except DatasetError as error:
        raise error_of(*in_file(columns, findings_of(error))) from error

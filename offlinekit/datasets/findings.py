"""Findings: what is wrong, or looks wrong, with the columns of a dataset, and the error of what prevents building."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.types import Array

Severity: TypeAlias = Literal["fault", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or looks wrong, with a dataset.

    Attributes:
        severity: "fault" if no dataset can be built, "warning" if one can, but hardly as it was meant, "note" for what
            is often right and worth a look.
        field: The column, or the leaf of one, such as `observations['camera']`.
        message: What was expected and what came; `field` is its subject.
        fix: What to do.
        row: The first row that shows it, or None if it is of the whole column.
        n_rows: How many rows, or episodes, show it.
        episode: The episode of that row, or the first episode of a column with one entry an episode.
    """

    severity: Severity
    field: str
    message: str
    fix: str
    row: int | None = None
    n_rows: int | None = None
    episode: int | None = None

    @property
    def text(self) -> str:
        """Field, message, place and remedy in one sentence."""
        place = (
            "" if self.row is None else f"{'' if self.severity == 'fault' else ', first'} at row {self.row}"
        )
        if self.episode is not None:
            place += f" at episode {self.episode}" if self.row is None else f", in episode {self.episode}"
        if self.n_rows is not None and self.n_rows > 1:
            place += f" ({self.n_rows} such {'episodes' if self.row is None else 'rows'})"
        return f"{self.field} {self.message}{place}; {self.fix}"

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as plain data."""
        return asdict(self)


def fault(field: str, message: str, fix: str, rows: Array | None = None) -> Finding:
    """Returns what prevents building; `rows` are the numbers of the rows that show it."""
    return _finding("fault", field, message, fix, rows)


def warning(field: str, message: str, fix: str, rows: Array | None = None) -> Finding:
    """Returns what every door warns of."""
    return _finding("warning", field, message, fix, rows)


def note(field: str, message: str, fix: str, rows: Array | None = None) -> Finding:
    """Returns what only `validate` lists."""
    return _finding("note", field, message, fix, rows)


def _finding(severity: Severity, field: str, message: str, fix: str, rows: Array | None) -> Finding:
    if rows is None:
        return Finding(severity, field, message, fix)
    return Finding(severity, field, message, fix, int(rows[0]), len(rows))


def of_episode(finding: Finding) -> Finding:
    """Returns a finding whose row numbers are those of episodes."""
    return replace(finding, row=None, episode=finding.row)


class UnsupportedSpace(DatasetError, UnsupportedError):
    """A space of a kind that no dataset has."""


def refused(field: str, message: str, fix: str, rows: Array | None = None) -> DatasetError:
    """Returns the error of one fault, to be raised."""
    return error_of(fault(field, message, fix, rows))


def refuse_first(findings: Iterable[Finding]) -> None:
    """Raises DatasetError with all findings if there is one."""
    faults = tuple(findings)
    if faults:
        raise error_of(*faults)


def error_of(*findings: Finding) -> DatasetError:
    """Returns the error of columns that make no dataset; says the first finding and keeps all."""
    error = (UnsupportedSpace if findings[0].field.endswith("_space") else DatasetError)(findings[0].text)
    error.findings = findings
    return error


def findings_of(error: DatasetError) -> tuple[Finding, ...]:
    """Returns the findings that an error keeps; raises it again if it keeps none."""
    if not error.findings:
        raise error
    return error.findings

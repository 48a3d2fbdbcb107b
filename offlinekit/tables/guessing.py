"""A first schema of a table, guessed from its cells, as YAML that a person corrects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from offlinekit.tables.episode_columns import is_named_so, n_blocks, named_episode, proposed_episode
from offlinekit.tables.table_columns import (
    KINDS,
    RULES,
    SECONDS,
    UNKNOWN,
    WORDS,
    Array,
    TableColumn,
    TableError,
    label_of,
)
from offlinekit.tables.table_schema import ROLES, Table

NAMES = {
    "action": ("action", "actions", "treatment", "decision", "dose", "arm", "choice"),
    "reward": ("reward", "rewards", "score", "outcome", "utility", "r"),
    "episode": (
        "episode",
        "episode_id",
        "patient",
        "patient_id",
        "subject_id",
        "stay_id",
        "icustay_id",
        "user_id",
        "session",
    ),
    "time": ("time", "timestamp", "charttime", "date", "datetime", "step", "t", "hour", "day"),
    "terminal": ("terminal", "terminals", "terminated", "done", "died", "dead"),
    "timeout": ("timeout", "timeouts", "truncated", "censored"),
    "propensity": ("propensity", "propensities", "pscore", "propensity_score"),
}
"""Names of columns in small letters that say what a column is for; the first one that a table has.

Of episodes there are more, see `episode_columns`.
"""
COMMA = re.compile(r"-?\d+,\d+")
"""A number with a decimal comma."""
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
"""A number that may as well have commas between its thousands."""
TIME_FORMATS = tuple(
    f"{day}{time}"
    for time in ("", " %H:%M", " %H:%M:%S")
    for day in ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y")
)
"""Of times that are no ISO 8601; one is guessed if it alone reads all cells of a column."""
MOST_LABELS = 50
"""Different texts beyond this number, or in more than half of the rows, are hardly categories."""


@dataclass(frozen=True)
class Guess:
    """What the columns of a table may mean.

    Attributes:
        observations, actions: Columns by name, each with what was seen in it, for people.
        roles: Names of columns by role; of a role that no column has, None.
        unused: Names of the other columns, each with the reason.
        n_rows: Of the table.
        decimal: The decimal mark of its numbers.
        time_format: Of its times; empty for ISO 8601.
        legal_actions: Columns that say which labels of the action are possible, in their order; none if none do.
        proposed: Roles whose column has no usual name, each with why it was chosen.
    """

    observations: Mapping[str, tuple[TableColumn, str]]
    actions: Mapping[str, tuple[TableColumn, str]]
    roles: Mapping[str, str | None]
    unused: Mapping[str, str] = field(default_factory=dict)
    n_rows: int = 0
    decimal: str = "."
    time_format: str = ""
    legal_actions: tuple[str, ...] = ()
    proposed: Mapping[str, str] = field(default_factory=dict)

    def to_yaml(self, table: str, file: str) -> str:
        """Returns the guess as the text of a schema file.

        Args:
            table: Name of the table, for the first line.
            file: Name of the schema file, likewise.
        """
        lines = [
            f"# What the columns of {table} mean, as guessed from {self.n_rows:,} rows. Correct it, then give it to",
            "# the commands that read the table:",
            f"#   offlinekit datasets validate {table} --schema {file}",
            f"# kind: {', '.join(KINDS)}; order has its categories from the lowest.",
            f"# unit: of numbers for people; of times {', '.join(SECONDS)}.",
            f"# gaps: {', '.join(RULES)} (with fill:). Other fields: low, high; embed, of a category.",
            "observations:",
            *(_line(*each) for each in self.observations.values()),
            "actions:" if self.actions else "actions: []  # Name the column here",
            *(_line(*each) for each in self.actions.values()),
            *(self._line_of_role(role) for role in ROLES),
            f"legal_actions: {_quoted(list(self.legal_actions))}  # Columns of yes/no, one a label of the action",
            f"time_format: {_quoted(self.time_format)}".removesuffix(' ""')
            + '  # Such as "%d.%m.%Y %H:%M", if times are no ISO 8601',
            f'decimal: "{self.decimal}"  # The mark of numbers in text files',
            *(f"# Not used: {name} ({reason})" for name, reason in self.unused.items()),
        ]
        return "\n".join(lines) + "\n"

    def _line_of_role(self, role: str) -> str:
        line = f"{role}: {_quoted(self.roles[role] or '')}".removesuffix(' ""')
        return f"{line}  # Proposed: {self.proposed[role]}" if role in self.proposed else line


def guess(rows: object, **named: str | None) -> Guess:
    """Returns what the columns of a table may mean, by their names and cells.

    Args:
        rows: The table.
        named: Columns by role, of those that the caller knows: action, reward, episode, time, terminal, timeout,
            propensity.

    Raises:
        TableError: For a column that there is not, or a table without rows.
    """
    table = Table(rows, [name for name in named.values() if name])
    names = list(dict.fromkeys(str(name) for name in getattr(table, "keys", table.names)))
    roles = {role: named.get(role) or _named_so(names, role) for role in NAMES}
    action = roles.pop("action")
    cells = {name: table.cells(name) for name in names}
    decimal = "," if any(_has_commas(column) for column in cells.values()) else "."
    if decimal == ",":
        cells = {name: _with_points(column) for name, column in cells.items()}
    time_format = _time_format(cells[name] for name in names if name != action)
    actions = {} if action is None else {action: _action(action, cells[action])}
    legal = _legal_columns(cells, action, actions)
    others = {name: cells[name] for name in names if name not in (action, *roles.values(), *legal)}
    roles["episode"], why = (
        _episode(others, time_format) if roles["episode"] is None else (roles["episode"], "")
    )
    observations: dict[str, tuple[TableColumn, str]] = {}
    unused = {}
    for name, column_cells in others.items():
        if name == roles["episode"]:
            continue
        column, seen = _column(name, column_cells, time_format)
        if is_named_so(name, column_cells):
            unused[name] = f"its name says that it tells episodes apart, as {roles['episode']} does"
        elif column is None:
            unused[name] = seen
        else:
            observations[name] = (column, seen)
    proposed = {"episode": why} if why else {}
    n_rows = len(cells[names[0]])
    return Guess(observations, actions, roles, unused, n_rows, decimal, time_format, legal, proposed)


def _episode(cells: Mapping[str, Array], time_format: str) -> tuple[str | None, str]:
    """Returns the column that says where episodes begin, or None, and why, if its name does not say so."""
    name = named_episode(cells)
    if name is not None:
        return name, ""
    name = proposed_episode(cells, time_format)
    if name is None:
        return None, ""
    return (
        name,
        f"its {n_blocks(cells[name]):,} values are each the same over a block of rows; else name another column",
    )


def _legal_columns(
    cells: Mapping[str, Array], action: str | None, actions: Mapping[str, tuple[TableColumn, str]]
) -> tuple[str, ...]:
    """Returns a column for each label of an action that has it in its name and says yes where it was taken, or none."""
    if action is None:
        return ()
    columns = []
    for label in actions[action][0].categories:
        flags = [name for name in cells if name != action and _is_word_of(label, name)]
        taken = np.array([label_of(cell) == label for cell in cells[action]])
        if len(flags) != 1 or not _is_yes(cells[flags[0]], taken):
            return ()
        columns += flags
    return tuple(columns) if len(set(columns)) == len(columns) else ()


def _is_word_of(label: str, name: str) -> bool:
    return label.lower() in re.split(r"[\W_]+", name.lower())


def _is_yes(cells: Array, taken: Array) -> bool:
    """Returns whether a column is of yes and no, and says yes in the rows taken, bool [N]."""
    try:
        flags = TableColumn("", "yes/no").numbers(cells)
    except TableError:
        return False
    return bool((flags[taken] == 1).all())


def _time_format(columns: Iterable[Array]) -> str:
    """Returns the format that reads the times of a table; empty if they are ISO 8601, or can be read in two ways."""
    for cells in columns:
        texts = [cell for cell in cells.tolist() if isinstance(cell, str) and cell.strip()]
        if texts and any(mark in texts[0] for mark in "./-"):
            fitting = [known for known in TIME_FORMATS if _reads(known, cells)]
            if len(fitting) == 1 and not _reads("", cells):
                return fitting[0]
    return ""


def _reads(time_format: str, cells: Array) -> bool:
    try:
        TableColumn("", "time", origin="1970-01-01").numbers(cells, time_format)
    except TableError:
        return False
    return True


def _has_commas(cells: Array) -> bool:
    """Returns whether all cells with a value are numbers with a decimal comma, not all of them perhaps thousands."""
    labels, _, _ = _labels(cells)
    are_numbers = bool(labels) and all(COMMA.fullmatch(label) for label in labels)
    return are_numbers and not all(THOUSANDS.fullmatch(label) for label in labels)


def _with_points(cells: Array) -> Array:
    given = np.empty(len(cells), object)
    given[:] = [
        cell.replace(",", ".") if isinstance(cell, str) and COMMA.fullmatch(cell) else cell for cell in cells
    ]
    return given


def _named_so(names: Sequence[str], role: str) -> str | None:
    by_small = {name.lower(): name for name in reversed(names)}
    return next((by_small[known] for known in NAMES[role] if known in by_small), None)


def _column(name: str, cells: Array, time_format: str) -> tuple[TableColumn | None, str]:
    """Returns what a column of the observation may mean, or None, and what was seen."""
    labels, counts, n_gaps = _labels(cells)
    gaps = f"; {n_gaps:,} of {len(cells):,} rows have no value: state a rule" if n_gaps else ""
    if not labels:
        return None, "it has no value at all"
    if {label.lower() for label in labels} <= WORDS.keys() and len(labels) == 2:
        return TableColumn(name, "yes/no"), f"{_counted(labels, counts)}{gaps}"
    for kind in ("number", "time"):
        column = TableColumn(name, kind, origin="1970-01-01" if kind == "time" else None)
        try:
            numbers = column.numbers(cells, time_format)
        except TableError:
            continue
        if kind == "time":
            return TableColumn(name, "time", unit="days"), f"such as {labels[0]}{gaps}"
        return TableColumn(name), f"{np.nanmin(numbers):g} to {np.nanmax(numbers):g}{gaps}"
    if len(labels) > min(MOST_LABELS, len(cells) / 2):
        return None, f"{len(labels):,} different texts, such as {labels[0]!r:.60}"
    known = tuple(label for label in labels if label != UNKNOWN)
    return TableColumn(name, "category", known), f"{_counted(labels, counts)}{gaps}"


def _action(name: str, cells: Array) -> tuple[TableColumn, str]:
    """Returns what the column of the action may mean: few labels or whole numbers are discrete."""
    labels, counts, _ = _labels(cells)
    try:
        numbers = TableColumn(name).numbers(np.array(labels, object))
    except TableError:
        numbers = np.full(len(labels), np.nan)
    if ((numbers == np.round(numbers)).all() and len(labels) <= MOST_LABELS) or np.isnan(numbers).any():
        return TableColumn(name, "category", tuple(labels)), _counted(labels, counts)
    return TableColumn(name, low=float(numbers.min()), high=float(numbers.max())), "bounds as in the data"


def _labels(cells: Array) -> tuple[list[str], list[int], int]:
    """Returns the different labels of cells, sorted, how often each is there, and the number of gaps."""
    missing = TableColumn("", "yes/no").is_missing(cells)  # Among labels, None is one.
    distinct, counts = np.unique([label_of(cell) for cell in cells[~missing]], return_counts=True)
    order = sorted(range(len(distinct)), key=lambda i: _place(str(distinct[i])))
    return [str(distinct[i]) for i in order], [int(counts[i]) for i in order], int(missing.sum())


def _place(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return np.inf, label


def _counted(labels: Sequence[str], counts: Sequence[int]) -> str:
    shown = ", ".join(f"{label} {count:,}" for label, count in list(zip(labels, counts, strict=True))[:8])
    return shown + (", ..." if len(labels) > 8 else "")


def _quoted(value: object) -> str:
    """Returns a value as YAML reads it, whatever characters it has."""
    return json.dumps(value, ensure_ascii=False)


def _line(column: TableColumn, seen: str) -> str:
    facts = {"unit": column.unit, "gaps": column.gaps, **column.to_json()}
    if column.categories:
        del facts["unit"]
    first = {key: facts.pop(key) for key in ("name", "kind")}
    fields = ", ".join(f"{key}: {_quoted(value)}" for key, value in {**first, **facts}.items())
    return f"  - {{{fields}}}  # {' '.join(seen.split())}"

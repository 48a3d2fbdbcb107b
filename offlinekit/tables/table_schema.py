"""The schema of a table: how its rows become observations, and actions labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .table_columns import UNKNOWN, Array, TableColumn, TableError, did_you_mean, listed, named

TABLE_SCHEMA = "table_schema"
"""Key of the metadata of a dataset that holds the schema of its table."""
ROLES = ("reward", "episode", "time", "terminal", "timeout", "propensity")


@dataclass(frozen=True)
class TableSchema:
    """What the columns of a table mean.

    Attributes:
        observations: Columns of the observation, in order.
        actions: Columns of the action: one of kind category, order or yes/no is discrete, several of these are
            several discrete parts, numbers are continuous.
        legal_actions: Columns of yes/no, one for each category of the action, that say whether it is possible.
        reward, episode, time, terminal, timeout, propensity: Names of columns, as of `from_dataframe`.
        time_format: Of texts that are no ISO 8601, such as "%d.%m.%Y %H:%M".
        decimal: The decimal mark of text files.

    Raises:
        TableError: For columns that make no observation and no action.
    """

    observations: tuple[TableColumn, ...]
    actions: tuple[TableColumn, ...]
    reward: str = ""
    episode: str | None = None
    time: str | None = None
    terminal: str | None = None
    timeout: str | None = None
    propensity: str | None = None
    legal_actions: tuple[str, ...] = ()
    time_format: str = ""
    decimal: str = "."

    def __post_init__(self) -> None:
        for what in ("observations", "actions"):
            names = [column.name for column in getattr(self, what)]
            if not names or len(set(names)) < len(names):
                raise TableError(f"{what} must be columns of different names, got {names}")
        for column in self.observations:
            if UNKNOWN in column.categories and column.kind == "category":
                raise column.error(
                    f"has a category {UNKNOWN!r}; leave it out, as labels beside the others are that"
                )
        for column in self.actions:
            if column.embed:
                raise column.error("has embed, which is for categories of an observation; leave it out")
        kinds = {column.kind == "number" for column in self.actions}
        if len(kinds) > 1 or any(c.kind == "time" or c.gaps != "refuse" for c in self.actions):
            raise TableError(
                "actions must be all numbers or all labels, and none with a rule for gaps, got "
                + ", ".join(f"{c.name}: {c.kind}, gaps {c.gaps}" for c in self.actions)
            )
        n = len(self.labels[0]) if len(self.actions) == 1 and self.is_discrete else 0
        if self.legal_actions and len(self.legal_actions) != n:
            raise TableError(
                f"legal_actions must name a column for each of the {n} labels of one action, in their order, got "
                f"{list(self.legal_actions)}"
            )

    @property
    def is_discrete(self) -> bool:
        """Whether actions are labels rather than numbers."""
        return self.actions[0].kind != "number"

    @property
    def labels(self) -> tuple[tuple[str, ...], ...]:
        """The labels of each part of the action; a part of numbers has none."""
        words = {"yes/no": ("no", "yes")}
        return tuple(column.categories or words.get(column.kind, ()) for column in self.actions)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the D numbers of an observation."""
        return tuple(name for column in self.observations for name in column.features)

    @property
    def embedded(self) -> tuple[tuple[int, int, int], ...]:
        """(first number, classes, numbers of the embedding) of each category of the observation that is embedded."""
        ends = np.cumsum([0, *(len(column.features) for column in self.observations)]).tolist()
        return tuple(
            (first, len(column.categories) + 1, column.embed)
            for first, column in zip(ends, self.observations, strict=False)
            if column.embed
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that a table for learning has."""
        roles = [getattr(self, role) for role in ROLES]
        columns = [c.name for c in (*self.observations, *self.actions)]
        return tuple(dict.fromkeys([*columns, *filter(None, roles), *self.legal_actions]))

    def fitted(self, rows: object) -> TableSchema:
        """Returns the schema with the values for gaps and the first times of a table."""
        table = Table(rows, [column.name for column in self.observations])
        fitted = [column.fitted(table.cells(column.name), self.time_format) for column in self.observations]
        return dataclasses.replace(self, observations=tuple(fitted))

    def is_table(self, observations: object) -> bool:
        """Returns whether observations are rows of the table, rather than numbers as `encode` makes them."""
        if isinstance(observations, Mapping):
            encoded = observations.keys() <= {"observations", "legal_actions"}
            return not encoded or any(column.name == "observations" for column in self.observations)
        if isinstance(observations, (list, tuple)):
            return bool(observations) and isinstance(observations[0], Mapping)
        return hasattr(observations, "to_dict")

    def as_numbers(self, observations: object) -> object:
        """Returns rows of the table as `encode` has them; numbers as they are."""
        return self.encode(observations) if self.is_table(observations) else observations

    def encode(self, rows: object) -> Array | dict[str, Array]:
        """Returns the observations of rows, as `predict` takes them.

        Args:
            rows: A DataFrame, a list of dicts, or a dict of a value or a list for each column; a dict of values and a
                Series are one row.

        Returns:
            float64 [N, D], or [D] of one row; a dict with the leaf "legal_actions" [N, A], uint8, if the schema
            names columns of these and the rows have them.

        Raises:
            TableError: For a column that lacks, a cell that is none of its kind, or a gap without a rule.
        """
        table = Table(rows, [column.name for column in self.observations])
        parts = [c.encode(table.cells(c.name), self.time_format) for c in self.observations]
        numbers = np.concatenate(parts, axis=1)
        observations = numbers[0] if table.is_single else numbers
        if not self.legal_actions or not table.names & set(self.legal_actions):
            return observations
        legal = self.encode_legal(rows)
        return {"legal_actions": legal[0] if table.is_single else legal, "observations": observations}

    def encode_legal(self, rows: object) -> Array:
        """Returns which actions are possible at rows, uint8 [N, A]."""
        table = Table(rows, self.legal_actions)
        flags = [TableColumn(name, "yes/no").encode(table.cells(name)) for name in self.legal_actions]
        return np.concatenate(flags, axis=1).astype(np.uint8)

    def encode_actions(self, rows: object) -> Array:
        """Returns the actions of rows: int64 [N], [N, k] of k discrete parts, or float64 [N, A].

        Raises:
            TableError: For a label that is none of the declared ones.
        """
        table = Table(rows, [column.name for column in self.actions])
        return self._joined([table.cells(column.name) for column in self.actions])

    def numbers_of(self, labels: Array) -> Array:
        """Returns the actions of labels, [...] or [..., k], as `decode` made them."""
        last = labels[..., None] if len(self.actions) == 1 else labels
        parts = self._joined([part.reshape(-1) for part in np.moveaxis(last.astype(object), -1, 0)])
        return parts.reshape(labels.shape)

    def _joined(self, parts: Sequence[Array]) -> Array:
        strict = [dataclasses.replace(c, kind="order") if c.kind == "category" else c for c in self.actions]
        numbers = [c.encode(cells) for c, cells in zip(strict, parts, strict=True)]
        actions = np.concatenate(numbers, axis=1)
        if not self.is_discrete:
            return actions
        whole = actions.astype(np.int64)
        return whole[:, 0] if len(self.actions) == 1 else whole

    def decode(self, actions: Array) -> Array:
        """Returns the labels of actions, objects of [...] or, of k discrete parts, of [..., k]; of one number a text.

        Raises:
            TableError: If actions are numbers, which have no labels.
        """
        self.check_labels()
        parts = [np.array(names, object) for names in self.labels]
        sizes = [len(names) for names in parts]
        wrong = (np.asarray(actions) < 0) | (np.asarray(actions) >= (sizes if len(sizes) > 1 else sizes[0]))
        if wrong.any():
            raise TableError(
                f"actions must be numbers of labels, from 0, got {np.asarray(actions)[wrong].flat[0]}; actions that "
                "the labels do not name, of a larger action space, have none: leave labels=True out"
            )
        if len(parts) == 1:
            labels: Array = parts[0][actions]
            return labels
        return np.stack(
            [np.asarray(names[actions[..., i]], object) for i, names in enumerate(parts)], axis=-1
        )

    def check_labels(self) -> None:
        """Raises TableError if actions are numbers, which have no labels."""
        if not self.is_discrete:
            units = ", ".join(f"{c.name} in {c.unit or 'its own unit'}" for c in self.actions)
            raise TableError(f"actions are numbers ({units}), which have no labels; leave labels=True out")

    def differences(self, other: TableSchema) -> Iterator[str]:
        """Yields where another schema encodes otherwise, in words."""
        for what in ("observations", "actions"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if [c.name for c in ours] != [c.name for c in theirs]:
                yield f"{what} are the columns {[c.name for c in ours]} and {[c.name for c in theirs]}"
                continue
            for one, two in zip(ours, theirs, strict=True):
                if one != two:
                    yield f"{one.to_json()} and {two.to_json()}"

    def to_json(self) -> dict[str, object]:
        """Returns the schema as plain data."""
        columns = {what: [c.to_json() for c in getattr(self, what)] for what in ("observations", "actions")}
        named = {role: getattr(self, role) for role in (*ROLES, "time_format") if getattr(self, role)}
        legal = {"legal_actions": list(self.legal_actions)} if self.legal_actions else {}
        decimal = {} if self.decimal == "." else {"decimal": self.decimal}
        return {**columns, **named, **legal, **decimal}

    @staticmethod
    def from_json(data: object) -> TableSchema:
        """Returns what `to_json` described.

        Raises:
            TableError: For data that describe no schema.
        """
        facts = named(
            data, ("observations", "actions", *ROLES, "legal_actions", "time_format", "decimal"), "a schema"
        )
        columns = {
            what: tuple(TableColumn.from_json(column) for column in listed(facts.pop(what, None), what))
            for what in ("observations", "actions")
        }
        legal = tuple(str(name) for name in listed(facts.pop("legal_actions", None) or [], "legal_actions"))
        roles = {key: str(value) for key, value in facts.items() if value}
        return TableSchema(**columns, **roles, legal_actions=legal)  # type: ignore[arg-type]  # Of the roles.


class Table:
    """Cells by column of a DataFrame, a list of dicts, or a dict of columns or of one row.

    Raises:
        TableError: For something else, or rows without a column that is wanted.
    """

    def __init__(self, rows: Any, wanted: Sequence[str]) -> None:
        if hasattr(rows, "to_dict") and not hasattr(rows, "columns"):
            rows = rows.to_dict()
        self.is_single = isinstance(rows, Mapping) and not any(
            hasattr(value, "__len__") and not isinstance(value, str) for value in rows.values()
        )
        self.rows = [rows] if self.is_single else rows
        if isinstance(self.rows, (list, tuple)) and all(isinstance(row, Mapping) for row in self.rows):
            self.names = {str(name) for row in self.rows for name in row}
        elif isinstance(self.rows, Mapping) or hasattr(self.rows, "columns"):
            self.keys = {str(name): name for name in getattr(self.rows, "columns", self.rows)}
            self.names = set(self.keys)
        else:
            raise TableError(f"expected a DataFrame, a list of dicts or a dict of columns, got {rows!r:.100}")
        for name in wanted:
            if name not in self.names:
                hint = did_you_mean(name, self.names)
                raise TableError(
                    f"the rows have no column {name!r}{hint}; they have {', '.join(sorted(self.names))}"
                )

    def cells(self, name: str) -> Array:
        """Returns the cells of a column [N]; None where a dict lacks it."""
        if isinstance(self.rows, (list, tuple)):
            cells = np.empty(len(self.rows), object)
            cells[:] = [row.get(name) for row in self.rows]
            return cells
        column = self.rows[self.keys[name]]
        cells = np.asarray(column, object if isinstance(column, (list, tuple)) else None)
        if cells.ndim != 1:
            raise TableError(f"column {name!r} must have one value a row, got an array {list(cells.shape)}")
        return cells

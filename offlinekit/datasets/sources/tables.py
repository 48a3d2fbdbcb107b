"""Tables: a pandas DataFrame, or a CSV or Parquet file, with columns named by the caller.

Row t holds the observation, the action taken on it and the reward that the action earned (SAR).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.editing.dropping import Nonfinite
from offlinekit.datasets.editing.ordering import SortedColumns, faults_in_file, in_order
from offlinekit.datasets.formats.json_files import parse
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.sources.bandits import log_propensities, warn_of_rounds
from offlinekit.datasets.spaces import Space, clip
from offlinekit.datasets.tabular.one_episode import warn_of_one_episode
from offlinekit.datasets.tabular.table_frames import read_frame
from offlinekit.datasets.validation import as_array
from offlinekit.errors import DatasetError, DatasetWarning, did_you_mean, require
from offlinekit.ground.callers import warn_caller
from offlinekit.ground.category_space import CategorySpace
from offlinekit.ground.hints import answers_guesses
from offlinekit.tables.guessing import COMMA, THOUSANDS
from offlinekit.tables.schema_files import SchemaLike, as_schema
from offlinekit.tables.table_columns import UNKNOWN, TableColumn, TableError, label_of
from offlinekit.tables.table_schema import TABLE_SCHEMA, TableSchema
from offlinekit.types import Array

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("observations", "action", "reward")
NAMES = (*REQUIRED, "episode", "time", "terminal", "timeout", "propensity")
"""Options that say what the columns of a table are."""
COMMAS = re.compile(r"[-+]?\d+(,\d+)+(\.\d+)?")
"""A number with commas."""


@answers_guesses
def from_dataframe(
    frame: pd.DataFrame,
    *,
    schema: SchemaLike | None = None,
    observations: str | Sequence[str] = (),
    action: str | Sequence[str] = (),
    reward: str = "",
    episode: str | None = None,
    time: str | None = None,
    terminal: str | None = None,
    timeout: str | None = None,
    propensity: str | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
    name: str = "custom",
    metadata: dict[str, Any] | None = None,
    bandit: bool | None = None,
    nonfinite: Nonfinite = "refuse",
) -> MDPDataset:
    """Builds a dataset from a pandas DataFrame, one row a step.

    Columns of the observation and the action may hold lists of numbers, or texts of such, each of one length.

    Args:
        frame: The table.
        schema: What its columns mean, in place of the names below: a `TableSchema`, its data or its file. Texts, times
            and gaps become numbers by it, labels actions; the dataset keeps it, and so do policies that learn from it.
        observations: Column of the observation, or several in order.
        action: Column of the action, or several of a continuous one. Integer columns are discrete.
        reward: Column of the reward that the row's action earned.
        episode: Column that names the episode, of any type. Rows are put together by it, episodes in order
            of their first row; the last row of each that is no terminal is a timeout.
        time: Column to sort the rows of an episode by: numbers, dates, or texts of ISO 8601 in one offset; without
            it their order in the table counts.
        terminal: Column that is 1 where the MDP ended; without it nothing is terminal.
        timeout: Column that is 1 where the recording ended.
        propensity: Column of the probability (or density) with which the action was taken; its logarithm becomes
            `behavior_log_probs`.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.
        name: Of the dataset.
        metadata: Kept with the dataset.
        bandit: Whether each row is an episode of its own, after which the MDP ends; False says that all rows are one
            episode where no column says otherwise. None warns of that, and takes each row for an episode, with a
            warning, if propensities are named and no column says episode, time or end.
        nonfinite: As of MDPDataset.

    Raises:
        TypeError: Without a schema and without names of observations, action and reward, or with both.
        DatasetError: For missing columns or cells, duplicate times, and data that cannot be a dataset.
    """
    options = {key: value for key, value in locals().items() if key not in ("frame", "nonfinite")}
    columns = _columns(frame, **options)
    with faults_in_file(columns if nonfinite == "refuse" else {}):
        return MDPDataset(**columns, nonfinite=nonfinite)


def _columns(
    frame: pd.DataFrame,
    *,
    schema: SchemaLike | None = None,
    observations: str | Sequence[str] = (),
    action: str | Sequence[str] = (),
    reward: str = "",
    episode: str | None = None,
    time: str | None = None,
    terminal: str | None = None,
    timeout: str | None = None,
    propensity: str | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
    name: str = "custom",
    metadata: dict[str, Any] | None = None,
    bandit: bool | None = None,
) -> Columns:
    """Returns arguments of MDPDataset; `from_dataframe` documents the options."""
    plan = None if schema is None else as_schema(schema)
    observations = _listed(observations)
    named = (observations, action, reward, episode, time, terminal, timeout, propensity)
    _check_names(dict(zip(NAMES, named, strict=True)), plan)
    if plan is not None:
        reward, episode, time = plan.reward, plan.episode, plan.time
        terminal, timeout, propensity = plan.terminal, plan.timeout, plan.propensity
    roles = [reward, *filter(None, (episode, time, terminal, timeout, propensity))]
    _check_columns(frame, [*observations, *_listed(action), *roles] if plan is None else plan.columns)
    times = None if time is None else _times(frame, time, plan)
    order, last = _order(frame, episode, times, time)
    number = partial(_column if plan is None else _number, frame)
    flags = [
        None if c is None else partial(_column if plan is None else _flag, frame)(c)
        for c in (terminal, timeout)
    ]
    if bandit is None and propensity is not None and not any((episode, time, terminal, timeout)):
        warn_of_rounds()
        bandit = True
    if episode is None and bandit is None:
        acted = _listed(action) if plan is None else [column.name for column in plan.actions]
        warn_of_one_episode(
            frame, plan, {*acted, *roles}, [flag[order] for flag in flags if flag is not None]
        )
    columns: Columns = {
        "rewards": number(reward),
        "terminals": np.full(len(frame), bool(bandit)) if flags[0] is None else flags[0],
        "timeouts": flags[1],
        "behavior_log_probs": None
        if propensity is None
        else log_propensities(number(propensity), propensity),
    }
    facts = {"name": name, "action_space": action_space, "metadata": metadata}
    if plan is not None:
        meant = _meant(frame, plan, action_space, metadata)
        columns |= {key: meant.pop(key) for key in ("observations", "actions", "legal_actions")}
        columns["extras"], facts = {} if times is None else {time: times}, {**facts, **meant}
    else:
        actions = _joined_columns(frame, _listed(action))
        columns["observations"] = _joined_columns(frame, observations)
        columns["actions"] = clip(actions, action_space) if clip_actions else actions
    ends = {"terminals": terminal, "timeouts": timeout, "episode_terminals": episode}
    named_ends = {flag: column for flag, column in ends.items() if column is not None}
    by_episode = SortedColumns(columns, order, named_ends)  # Once errors have named the rows of the table.
    by_episode |= {"episode_terminals": last, **facts}
    return by_episode


def _check_names(named: Mapping[str, object], plan: TableSchema | None) -> None:
    """Checks that either a schema or the caller says what the columns are."""
    given = [name for name, value in named.items() if value]
    if plan is None:
        for name in REQUIRED:
            if name not in given:
                known = ", ".join(("schema", *NAMES))
                raise TypeError(
                    f"a table without a schema needs the option {name!r}, or let offlinekit datasets init guess a "
                    f"schema; its options are: {known}"
                )
    elif given:
        raise TypeError(f"the schema says what the columns are; leave the option {given[0]!r} out")
    elif not plan.reward:
        raise DatasetError("the schema names no reward; name its column there, such as reward: score")


def _meant(
    frame: pd.DataFrame, plan: TableSchema, action_space: Space | None, metadata: dict[str, Any] | None
) -> Columns:
    """Returns what a schema makes of the columns of observation and action, and keeps it in the metadata."""
    with _blamed_on_table():
        plan = plan.fitted(frame)
        observations, actions = plan.encode(frame), plan.encode_actions(frame)
        _warn_of_unknown(frame, plan)
    declared = _space_of(plan)
    if plan.is_discrete and action_space not in (None, declared):
        raise DatasetError(
            f"action_space {action_space} is not that of the labels in the schema, {declared}; leave it out, or "
            "declare as many labels"
        )
    legal = None
    if isinstance(observations, dict):
        legal, observations = observations["legal_actions"], observations["observations"]
    seen = CategorySpace(len(plan.features), plan.embedded) if plan.embedded else None
    return {
        "observations": observations,
        "observation_space": seen,
        "actions": actions,
        "legal_actions": legal,
        "action_space": declared if action_space is None else action_space,
        "metadata": {**(metadata or {}), TABLE_SCHEMA: plan.to_json()},
    }


def _warn_of_unknown(frame: pd.DataFrame, plan: TableSchema) -> None:
    """Warns of labels that are none of the categories: a word in the schema may be wrong."""
    for column in plan.observations:
        if column.kind == "category":
            cells = frame[column.name].to_numpy()
            others = cells[column.numbers(cells) == len(column.categories)]
            labels = sorted({label_of(cell) for cell in others} - {UNKNOWN})
            if labels:
                warn_caller(
                    f"column {column.name!r} has {len(others):,} rows of labels that are none of its categories, "
                    f"such as {labels[0]!r}: they become {UNKNOWN!r}; declare them if they are not",
                    DatasetWarning,
                )


def _space_of(plan: TableSchema) -> Space | None:
    """Returns the space of the actions that a schema declares; None for numbers without bounds."""
    sizes = [len(labels) for labels in plan.labels]
    if plan.is_discrete:
        return spaces.Discrete(sizes[0]) if len(sizes) == 1 else spaces.MultiDiscrete(sizes)
    low, high = (np.array([getattr(c, end) for c in plan.actions], np.float32) for end in ("low", "high"))
    return spaces.Box(low, high, dtype=np.float32)


def _number(frame: pd.DataFrame, name: str) -> Array:
    return _encoded(frame, TableColumn(name))


def _flag(frame: pd.DataFrame, name: str) -> Array:
    return _encoded(frame, TableColumn(name, "yes/no"))


def _encoded(frame: pd.DataFrame, column: TableColumn, time_format: str = "") -> Array:
    """Returns the numbers of a column that becomes one [N]."""
    with _blamed_on_table():
        return column.encode(frame[column.name].to_numpy(), time_format)[:, 0]


@contextmanager
def _blamed_on_table() -> Iterator[None]:
    try:
        yield
    except TableError as error:
        raise DatasetError(str(error)) from error


def read(
    path: Path,
    *,
    schema: SchemaLike | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    **options: Any,
) -> Columns:
    """Reads the columns of a CSV or TSV file with a header line, gzipped or not, or a Parquet file.

    Args:
        path: The file.
        schema: As of `from_dataframe`.
        separator: Between the cells of a text file; None finds ",", ";", tabs or "|" by the header line.
        decimal: The decimal mark of a text file; None takes that of the schema, else ".".
        thousands: The mark between the thousands of a text file's numbers: "," in "1,234"; None if there is none.
        **options: Of `from_dataframe`.

    Raises:
        MissingExtraError: If pandas, or pyarrow for Parquet, is not installed.
        FileFormatError: For a file that is not a table.
        DatasetError: As `from_dataframe`.
    """
    plan = None if schema is None else as_schema(schema)
    texts = filter(None, [options.get("episode")])  # "007" and "7" are two episodes.
    frame = read_frame(path, plan, separator=separator, decimal=decimal, thousands=thousands, texts=texts)
    return _columns(frame, schema=plan, **options)


def _options_of_read() -> inspect.Signature:
    own = list(inspect.signature(read).parameters.values())[:-1]
    return inspect.Signature([*own, *list(inspect.signature(_columns).parameters.values())[2:]])


read.__signature__ = _options_of_read()  # type: ignore[attr-defined]  # Of get_dataset's check.


def _listed(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _check_columns(frame: pd.DataFrame, wanted: Sequence[str]) -> None:
    known = [str(column) for column in frame.columns]
    for column in wanted:
        if column not in frame.columns:
            hint = did_you_mean(str(column), known)
            raise DatasetError(f"the table has no column {column!r}{hint}; it has {', '.join(known)}")
        if known.count(str(column)) > 1:
            raise DatasetError(
                f"the table has {known.count(str(column))} columns {column!r}; rename all but one"
            )
    if len(frame) == 0:
        raise DatasetError("the table is empty, expected at least one row")


def _joined_columns(frame: pd.DataFrame, names: Sequence[str]) -> Array:
    """Returns columns [N] or [N, D] side by side, [N, D in all]."""
    parts = [_column(frame, name) for name in names]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _column(frame: pd.DataFrame, name: str) -> Array:
    """Returns a column of numbers [N]; of lists of them, or texts of such lists, [N, D]."""
    values = frame[name].to_numpy()
    if values.dtype == object and len(values) and isinstance(values[0], list | tuple | np.ndarray):
        values = _stacked(list(values), name)
    elif values.dtype.kind in "OU" and str(values[0]).lstrip().startswith("["):
        values = _stacked([_parsed(text, name, row) for row, text in enumerate(values)], name)
    if values.dtype.kind in "OU":
        _check_commas(values, name)
    return as_array(values, f"column {name!r}")


def _check_commas(cells: Array, name: str) -> None:
    """Raises DatasetError for numbers with commas; says what reads them."""
    with_commas = [cell for cell in cells if isinstance(cell, str) and COMMAS.fullmatch(cell)]
    if not with_commas:
        return
    first, in_groups = with_commas[0], [cell for cell in with_commas if THOUSANDS.fullmatch(cell)]
    fix = "decimal=',' to read them"
    if len(in_groups) == len(with_commas):
        fix = "thousands=',' to read them"
        if all(COMMA.fullmatch(cell) for cell in in_groups):
            whole, point = first.replace(",", ""), first.replace(",", ".")
            fix = f"thousands=',' if this is {whole}, or decimal=',' if it is {point}"
    raise DatasetError(f"column {name!r} has numbers such as {first!r}; give {fix}")


def _parsed(text: object, name: str, row: int) -> object:
    try:
        return parse(str(text))
    except ValueError as error:
        raise DatasetError(
            f"column {name!r} must hold lists as JSON, got {text!r:.80} at row {row}"
        ) from error


def _stacked(lists: Sequence[Any], name: str) -> Array:
    lengths = {np.shape(each) for each in lists}
    if len(lengths) > 1:
        raise DatasetError(
            f"column {name!r} must hold lists of one length, got {sorted(map(str, lengths))[:4]}"
        )
    return np.asarray(lists)


def _order(
    frame: pd.DataFrame, episode: str | None, times: Array | None, time: str | None
) -> tuple[Array, Array | None]:
    """Returns the order of the rows by episode, then time, and where each episode ends in it."""
    fix = "give each step its own time, or each recording its own episode"
    order, last = in_order(_numbered(frame, episode), times, f"column {time!r}", fix)
    return order, None if episode is None else last


def _times(frame: pd.DataFrame, column: str, plan: TableSchema | None) -> Array:
    """Returns times as numbers: numbers as they are, and dates in days since 1970 if there is a schema."""
    if plan is None:
        return _times_of_texts(frame, column)
    if frame[column].to_numpy().dtype.kind in "iuf":
        return _number(frame, column)
    days = TableColumn(column, "time", unit="days", origin="1970-01-01")
    return _encoded(frame, days, plan.time_format)


def _times_of_texts(frame: pd.DataFrame, column: str) -> Array:
    """Returns times as numbers; texts must be of ISO 8601 in one offset, as any others sort as texts do."""
    pandas, values = require("pandas", "pandas"), frame[column]
    _check_no_gaps(column, np.asarray(values.isna()))
    if values.dtype.kind not in "iufbMm":
        try:
            values = pandas.to_datetime(values, format="ISO8601")
        except (ValueError, TypeError, OverflowError) as error:
            raise DatasetError(
                f"column {column!r} must hold numbers, or times of ISO 8601 in one offset, got {values.iloc[0]!r}; "
                f"convert it first, e.g. by pandas.to_datetime(frame[{column!r}], format=...) or pandas.to_numeric"
            ) from error
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    array = np.asarray(values.to_numpy())
    return array.astype(np.int64) if array.dtype.kind in "Mm" else array


def _numbered(frame: pd.DataFrame, column: str | None) -> Array:
    """Returns the number of each row's episode, in the order of their first rows."""
    if column is None:
        return np.zeros(len(frame), np.int64)
    codes = np.asarray(require("pandas", "pandas").factorize(frame[column])[0])
    _check_no_gaps(column, codes < 0)
    return codes


def _check_no_gaps(column: str, is_missing: Array) -> None:
    if is_missing.any():
        raise DatasetError(
            f"column {column!r} has no value at row {int(np.argmax(is_missing))}; fill or drop it"
        )


SOURCE = Source(
    summary="A table with a header line; name its columns by options.",
    suffixes=(".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet"),
    naming=("schema", *NAMES),
    read=read,
)

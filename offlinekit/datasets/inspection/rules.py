"""Everything that is wrong with columns before a dataset is built of them: named, placed and with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from offlinekit.datasets import validation
from offlinekit.errors import DatasetError
from offlinekit.types import Array

FLAGS = ("terminals", "timeouts", "episode_terminals")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or looks wrong, with a dataset.

    Attributes:
        severity: "fault" where no dataset can be built, "warning" where one can, but hardly as it was meant.
        field: The column.
        message: What was found.
        fix: What to do.
        row: The first row that shows it, or None where it is of the whole column.
        n_rows: How many rows show it.
    """

    severity: str
    field: str
    message: str
    fix: str
    row: int | None = None
    n_rows: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as plain data."""
        return asdict(self)


def fault(field: str, message: str, fix: str, rows: Array | None = None) -> Finding:
    """Returns what prevents building; `rows` are the rows that show it."""
    return _finding("fault", field, message, fix, rows)


def warning(field: str, message: str, fix: str, rows: Array | None = None) -> Finding:
    """Returns what looks wrong; `rows` are the rows that show it."""
    return _finding("warning", field, message, fix, rows)


def _finding(severity: str, field: str, message: str, fix: str, rows: Array | None) -> Finding:
    if rows is None:
        return Finding(severity, field, message, fix)
    return Finding(severity, field, message, fix, int(rows[0]), len(rows))


Check = Callable[[Mapping[str, Any]], Iterator[Finding]]
"""Columns by the names of MDPDataset's arguments to findings."""


def find_faults(columns: Mapping[str, Any]) -> list[Finding]:
    """Returns all that prevents a dataset of these columns.

    Args:
        columns: Arguments of `MDPDataset` by name.
    """
    unreadable = list(_unreadable(columns))
    if unreadable:  # What cannot be read cannot be looked at further.
        return unreadable
    checks: tuple[Check, ...] = (_lengths, _not_finite, _not_flags, _ends, _actions, _log_probs)
    return [finding for check in checks for finding in check(columns)]


def named_columns(columns: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """Yields name and array of each column and leaf of N rows that is given."""
    for field in ("observations", "next_observations"):
        if columns.get(field) is not None:
            for name, leaf in validation.named_leaves(columns[field], field):
                yield name, np.asarray(leaf)
    for field in ("actions", "rewards", *FLAGS, "behavior_log_probs"):
        if columns.get(field) is not None:
            yield field, np.asarray(columns[field])


def _unreadable(columns: Mapping[str, Any]) -> Iterator[Finding]:
    for field in ("observations", "actions", "rewards", "terminals"):
        if columns.get(field) is None:
            yield fault(field, "is missing", "give the column, or name its key by an option of the reader")
    for field, convert in _READERS.items():
        if columns.get(field) is not None:
            try:
                convert(columns[field], field)
            except DatasetError as error:
                message, _, fix = str(error).partition("; ")
                yield fault(field, message, fix or "convert it first, e.g. np.asarray(x, np.float32)")


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "observations": validation.as_observations,
    "next_observations": validation.as_observations,
    "final_observations": validation.as_observations,
    "actions": validation.as_array,
    **dict.fromkeys(("rewards", *FLAGS, "behavior_log_probs"), validation.as_vector),
}


def _lengths(columns: Mapping[str, Any]) -> Iterator[Finding]:
    n_rows = len(columns["rewards"])
    if n_rows == 0:
        yield fault("rewards", "the dataset is empty", "check how it was read")
    for name, leaf in named_columns(columns):
        if len(leaf) != n_rows:
            message = f"has {len(leaf):,} rows, but rewards have {n_rows:,}"
            yield fault(name, message, "give every column one entry for each row")


def _not_finite(columns: Mapping[str, Any]) -> Iterator[Finding]:
    for name, leaf in named_columns(columns):
        if leaf.dtype.kind != "f" or name in FLAGS or not len(leaf):
            continue
        single = validation.as_float32(leaf).reshape(len(leaf), -1)
        wrong = np.flatnonzero(~np.isfinite(single).all(axis=1))
        if len(wrong):
            values = leaf.reshape(len(leaf), -1)[wrong[0]]
            value = values[~np.isfinite(single[wrong[0]])][0]
            too_large = " (too large for float32)" if np.isfinite(value) else ""
            message = f"holds {value:g}{too_large}, expected finite numbers"
            yield fault(name, message, "drop those episodes, or repair the values", wrong)


def _not_flags(columns: Mapping[str, Any]) -> Iterator[Finding]:
    for name in FLAGS:
        if columns.get(name) is None:
            continue
        flags = _vector(columns[name])
        wrong = np.flatnonzero((flags != 0) & (flags != 1))
        if len(wrong):
            yield fault(name, f"holds {flags[wrong[0]]}, expected 0 or 1", "convert with e.g. x > 0.5", wrong)


def _ends(columns: Mapping[str, Any]) -> Iterator[Finding]:
    """Finds ends of episodes that `episode_terminals` denies."""
    if columns.get("episode_terminals") is None:
        return
    last = _vector(columns["episode_terminals"]) != 0
    for name in ("terminals", "timeouts"):
        if columns.get(name) is None or len(_vector(columns[name])) != len(last):
            continue
        outside = np.flatnonzero((_vector(columns[name]) != 0)[:-1] & ~last[:-1])
        if len(outside):
            yield fault(
                name,
                "is set where episode_terminals is not",
                f"if episode_terminals is right pass {name} * episode_terminals, else leave it out",
                outside,
            )


def _actions(columns: Mapping[str, Any]) -> Iterator[Finding]:
    actions, space = np.asarray(columns["actions"]), columns.get("action_space")
    if isinstance(space, spaces.Discrete) or (space is None and actions.dtype.kind in "iub"):
        yield from _discrete_actions(actions, space)
        return
    flat = actions.reshape(len(actions), -1) if len(actions) else actions
    if actions.ndim not in (1, 2):
        yield fault("actions", f"has shape {list(actions.shape)}, expected [N, A]", "flatten each action")
    elif space is not None and flat.shape[1:] != space.shape:
        message = f"has {flat.shape[1]} dimensions, expected those of {space}"
        yield fault("actions", message, "declare the space that the actions have")
    elif space is not None:
        low, high = validation.as_float32(space.low), validation.as_float32(space.high)
        single = validation.as_float32(flat)
        outside = (single < low) | (single > high)
        wrong = np.flatnonzero(outside.any(axis=1))
        if len(wrong):
            dimension = int(np.argmax(outside[wrong[0]]))
            value = flat[wrong[0], dimension]
            message = (
                f"dimension {dimension} holds {value:g}, outside [{low[dimension]:g}, {high[dimension]:g}]"
            )
            yield fault("actions", message, "clip them (clip_actions=true), or declare their range", wrong)


def _discrete_actions(actions: Array, space: Any) -> Iterator[Finding]:
    flat = actions[:, 0] if actions.ndim == 2 and actions.shape[1] == 1 else actions
    if flat.ndim != 1:
        message = f"has shape {list(actions.shape)}, expected [N] for discrete actions"
        yield fault("actions", message, "join several into one number, or give floats if they are continuous")
        return
    broken = np.flatnonzero(flat != np.floor(flat)) if flat.dtype.kind == "f" else np.array([], int)
    if len(broken):
        message = f"holds {flat[broken[0]]:g}, expected whole numbers"
        yield fault("actions", message, "declare a Box if they are continuous", broken)
    outside = np.flatnonzero((flat < 0) | (flat >= (np.inf if space is None else space.n)))
    if len(outside):
        message = f"holds {flat[outside[0]]}, outside {space or 'the numbers from 0 on'}"
        yield fault("actions", message, "number the actions from 0, or declare a larger Discrete", outside)


def _log_probs(columns: Mapping[str, Any]) -> Iterator[Finding]:
    given = columns.get("behavior_log_probs")
    discrete = np.asarray(columns["actions"]).dtype.kind in "iub"
    if given is not None and discrete:
        above = np.flatnonzero(_vector(given) > 1e-4)
        if len(above):
            message = f"holds {_vector(given)[above[0]]:g}, expected at most 0 for discrete actions"
            yield fault("behavior_log_probs", message, "take the logarithm of the probabilities", above)


def _vector(values: Any) -> Array:
    return np.asarray(values).reshape(-1)

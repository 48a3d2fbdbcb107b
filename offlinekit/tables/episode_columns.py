"""Which column of a table says where episodes begin: found by its name, or proposed for being the same in blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from offlinekit.tables.table_columns import WORDS, Array, TableColumn, TableError, label_of

UNITS = {
    *("episode", "ep", "eps", "trajectory", "traj", "rollout", "session", "encounter", "admission"),
    *("patient", "subject", "stay", "icustay", "hadm"),
}
"""Words for a sequence of decisions, or for whom they were made about."""
PLACES = {"icu", "hospital", "hosp", "ward", "ed", "web"}
"""Words that may stand beside them."""
LOOSE_UNITS = {"case", "run", "visit", "trial", "user", "customer", "client", "person", "member", "game"}
"""Words that may as well count or describe something: the column has to be the same within blocks of rows too."""
NUMBERING = {"id", "ids", "idx", "index", "no", "nr", "num", "number", "key", "name", "uuid"}
"""Words of a name that say that a column tells things apart."""
CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def named_episode(cells: Mapping[str, Array]) -> str | None:
    """Returns the first column whose name says that it tells episodes apart, or None.

    Args:
        cells: Of each column [N].
    """
    return next((name for name in cells if is_named_so(name, cells[name])), None)


def is_named_so(name: str, cells: Array) -> bool:
    """Returns whether a column's name says that it tells episodes apart, such as icu_stay, trajId or case."""
    words = [word for word in re.split(r"[\W_]+", CAPITAL.sub("_", name).lower()) if word]
    plain = [word for word in words if word not in NUMBERING and not word.isdigit()]
    if not plain or not set(plain) <= UNITS | LOOSE_UNITS | PLACES:  # length_of_stay is none.
        return False
    return not UNITS.isdisjoint(plain) or (not LOOSE_UNITS.isdisjoint(plain) and n_blocks(cells) > 0)


def proposed_episode(cells: Mapping[str, Array], time_format: str = "") -> str | None:
    """Returns the column that may tell episodes apart, whatever its name, or None.

    It holds whole numbers or texts that are the same within blocks of rows, each in one block. Of several the one with
    most blocks is returned.

    Args:
        cells: Of each column [N] that has no other role.
        time_format: Of times.
    """
    numbers = {name: n_blocks(each) for name, each in cells.items() if _may_name(each, time_format)}
    most = max(numbers.values(), default=0)
    return next((name for name, n in numbers.items() if n == most), None) if most else None


def n_blocks(cells: Array) -> int:
    """Returns in how many blocks of rows a column is the same; 0 if it does not look as if they were episodes.

    There are at least two, each value is in one of them only, and most of them are longer than a row.
    """
    if (
        len(cells) < 4
        or isinstance(cells[0], (list, tuple, np.ndarray))
        or TableColumn("").is_missing(cells).any()
    ):
        return 0
    changes = np.flatnonzero(np.asarray(cells[1:] != cells[:-1], np.bool_)) + 1
    starts = np.append(0, changes)
    lengths = np.diff(np.append(starts, len(cells)))
    if len(starts) < 2 or 2 * np.count_nonzero(lengths > 1) <= len(starts):
        return 0
    return len(starts) if len({label_of(cell) for cell in cells[starts]}) == len(starts) else 0


def _may_name(cells: Array, time_format: str) -> bool:
    """Returns whether cells are whole numbers, or texts other than yes, no and times."""
    sample = cells[~TableColumn("").is_missing(cells)]
    labels: Sequence[str] = [label_of(cell) for cell in sample[:1000]]
    if not labels or {label.lower() for label in labels} <= WORDS.keys():
        return False
    numbers = _read("number", sample, "")
    if numbers is not None:
        return bool((numbers == np.round(numbers)).all())
    return _read("time", sample, time_format) is None


def _read(kind: str, cells: Array, time_format: str) -> Array | None:
    origin = "1970-01-01" if kind == "time" else None
    try:
        return TableColumn("", kind, origin=origin).numbers(cells, time_format)
    except TableError:
        return None

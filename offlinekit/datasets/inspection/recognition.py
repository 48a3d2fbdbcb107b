"""Columns of flat files by their usual keys, and those among them that a reader of some format leaves out.

A few keys make a file look like that of a benchmark. If it has other usual columns too, which the benchmark's reader
does not read, it is somebody's own, and the reader of buffers takes it by the names of its keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from offlinekit.datasets.formats import hdf5
from offlinekit.datasets.formats.array_files import names_in
from offlinekit.datasets.formats.arrow import parquet_names
from offlinekit.errors import DatasetWarning
from offlinekit.ground.callers import warn_caller

USUAL: Mapping[str, tuple[str, ...]] = {
    "observations": ("observations", "obs", "states", "state", "observation", "context", "contexts"),
    "actions": ("actions", "acts", "action", "act"),
    "rewards": ("rewards", "rews", "reward", "rew"),
    "terminals": ("terminals", "terminal", "terminations", "terminated", "terminateds"),
    "dones": ("dones", "done"),
    "not_dones": ("not_dones", "not_done"),
    "timeouts": ("timeouts", "timeout", "truncations", "truncation", "truncated", "truncateds"),
    "episode_terminals": ("episode_terminals",),
    "episode_starts": ("episode_starts",),
    "next_observations": (
        *("next_observations", "next_obs", "next_states", "next_state", "next_observation"),
        *("obs_next", "obs2", "new_obs"),
    ),
    "legal_actions": ("legal_actions",),
    "behavior_log_probs": ("behavior_log_probs",),
}
"""Keys that are found without being named, by column."""
BOUNDS = {"timeouts", "episode_terminals", "episode_starts", "dones", "not_dones"}
"""Columns each of which says, beside terminals, where episodes end; one of them is enough."""


def tops_in(path: Path) -> list[str]:
    """Returns the names at the top of a flat file or folder; none if it is of another kind.

    Raises:
        FileFormatError: For a damaged file.
    """
    if path.is_file() and path.suffix.lower() == ".parquet":
        return parquet_names(path)
    if path.is_file() and hdf5.is_hdf5(path):
        with hdf5.open_hdf5(path) as file:
            return hdf5.keys_of(file)
    return names_in(path)


def columns_beside(names: Collection[str], keys: Collection[str]) -> list[str]:
    """Returns the names of usual columns of which a reader reads none.

    Args:
        names: Of the file.
        keys: That the reader reads.
    """
    there = {column: [key for key in usual if key in names] for column, usual in USUAL.items()}
    read = {column for column, found in there.items() if not set(found).isdisjoint(keys)}
    if "terminals" in read and read & BOUNDS:
        read |= BOUNDS
    if read & {"dones", "not_dones"}:
        read |= {"dones", "not_dones", "episode_starts"}
    return [key for column, found in there.items() if column not in read for key in found]


def warn_of_unread(path: Path, reader: str, keys: Iterable[str]) -> None:
    """Warns of usual columns in a file of which no reader reads all."""
    warn_caller(
        f"{', '.join(keys)} of {path} are not read by {reader!r}, the only reader of such a file: rename its keys to "
        "those of docs/formats.md, or save them in a format that has them",
        DatasetWarning,
    )


def warn_of_left(path: Path, reader: str, keys: Iterable[str]) -> None:
    """Warns of keys of a format that are left out, as another reader takes the file for its other columns."""
    warn_caller(
        f"{path} has other columns than files of {reader!r} have, so it is read by its usual keys; left "
        f"out: {', '.join(keys)}; pass format={reader!r} if it is one, or name keys by options",
        DatasetWarning,
    )

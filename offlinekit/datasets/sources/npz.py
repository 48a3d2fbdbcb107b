"""NPZ files of flat columns, their keys named by the caller if they are not the usual ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.formats.array_files import array_in, is_zip, open_npz
from offlinekit.datasets.inspection.format_losses import warn_of_losses
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.datasets.spaces import Space, clip
from offlinekit.errors import UnsupportedError
from offlinekit.io import atomic_write

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

ADVICE = "; say which is which by options, e.g. observations='obs'"


def read(
    path: Path,
    *,
    observations: str = "observations",
    actions: str = "actions",
    rewards: str = "rewards",
    terminals: str = "terminals",
    timeouts: str | None = None,
    episode_terminals: str | None = None,
    next_observations: str | None = None,
    behavior_log_probs: str | None = None,
    action_space: Space | None = None,
    clip_actions: bool = False,
) -> Columns:
    """Reads a dataset from an NPZ file, which holds one array a column.

    Args:
        path: The file.
        observations: Key of the column of MDPDataset with this name; the others likewise.
        actions: Key.
        rewards: Key.
        terminals: Key.
        timeouts: Key, or None for "timeouts" if the file has it.
        episode_terminals: Key, or None for "episode_terminals" if the file has it.
        next_observations: Key, or None for "next_observations" if the file has it.
        behavior_log_probs: Key, or None for "behavior_log_probs" if the file has it.
        action_space: gymnasium Box or Discrete, else taken from the dtype.
        clip_actions: Whether to clip continuous actions into action_space.

    Raises:
        FileFormatError: For a damaged file, objects in it, or a key it lacks.
        DatasetError: For data that cannot be a dataset.
    """
    given = locals()
    keys = {name: given[name] for name in schema.FLAT}
    with open_npz(path) as file:
        wanted = {name: key for name, key in keys.items() if key is not None}
        wanted |= {name: name for name, key in keys.items() if key is None and name in file}
        columns: dict[str, Any] = {name: array_in(file, key, path, ADVICE) for name, key in wanted.items()}
    if clip_actions:
        columns["actions"] = clip(columns["actions"], action_space)
    return {**columns, "action_space": action_space}


def export_npz(dataset: MDPDataset, path: Path | str) -> Path:
    """Writes a dataset as a compressed NPZ file of flat columns, atomically, and returns its path.

    Next observations are in it if all of them are known; a warning names what is not: spaces, metadata, masks, extras.

    Args:
        dataset: An MDPDataset whose observations are one array.
        path: Of the file.

    Raises:
        UnsupportedError: For observations that are trees, or final observations of which only some are known.
    """
    if isinstance(dataset.observations, dict | tuple):
        raise UnsupportedError("NPZ files hold one array of observations, got a dict or tuple; write .h5")
    names = [name for name in schema.FLAT if name in schema.ROWS and name != "next_observations"]
    columns = {name: getattr(dataset, name) for name in names if getattr(dataset, name) is not None}
    known = dataset.final_known | dataset.terminals[dataset.episode_ends - 1]
    if dataset.final_known.any() and not known.all():
        raise UnsupportedError(
            f"NPZ files hold every next observation or none, got {int(known.sum())} of {len(known)} "
            "episodes whose end was observed; write .h5, which says which"
        )
    if dataset.final_known.any():
        columns["next_observations"] = dataset.next_observations_at(np.arange(len(dataset)))
    warn_of_losses(dataset, "NPZ", (*schema.FLAT, "final_observations"))
    with atomic_write(Path(path)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **columns)
    return Path(path)


SOURCE = Source(
    summary="An NPZ file of flat columns; name its keys by options.",
    suffixes=(".npz",),
    recognises=is_zip,
    is_last_resort=True,
    read=read,
    write=export_npz,
)

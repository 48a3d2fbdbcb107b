"""NPZ files of flat columns, their keys named by the caller if they are not the usual ones; see `buffers`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.formats.array_files import is_zip
from offlinekit.datasets.inspection.format_losses import warn_of_losses
from offlinekit.datasets.source import Source
from offlinekit.datasets.sources.buffers import NAMING, read
from offlinekit.datasets.spaces import column_of_actions
from offlinekit.envs.legal_actions import legal_of, rest_of
from offlinekit.errors import UnsupportedError
from offlinekit.io import atomic_write

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset


def export_npz(dataset: MDPDataset, path: Path | str) -> Path:
    """Writes a dataset as a compressed NPZ file of flat columns, atomically, and returns its path.

    Next observations are in it if all of them are known; a warning names what is not: spaces, metadata, masks, extras.

    Args:
        dataset: An MDPDataset whose observations are one array.
        path: Of the file.

    Raises:
        UnsupportedError: For observations that are trees, or final observations of which only some are known.
    """
    observations = dataset.observations
    legal = legal_of(observations)
    if legal is not None:
        observations = rest_of(observations)
    if isinstance(observations, dict | tuple):
        raise UnsupportedError("NPZ files hold one array of observations, got a dict or tuple; write .h5")
    names = [name for name in schema.FLAT if name in schema.ROWS and name != "next_observations"]
    columns = {name: getattr(dataset, name) for name in names if getattr(dataset, name) is not None}
    columns["actions"] = column_of_actions(dataset.actions, dataset.action_space)
    columns |= {"observations": observations} | ({} if legal is None else {"legal_actions": legal})
    known = dataset.final_known | dataset.terminals[dataset.episode_ends - 1]
    if dataset.final_known.any() and legal is not None:
        raise UnsupportedError("NPZ files hold no legal actions of next observations; write .h5")
    if dataset.final_known.any() and not known.all():
        raise UnsupportedError(
            f"NPZ files hold every next observation or none, got {int(known.sum())} of {len(known)} "
            "episodes whose end was observed; write .h5, which says which"
        )
    if dataset.final_known.any():
        columns["next_observations"] = dataset.next_observations_at(np.arange(len(dataset)))
    unknown = int((~dataset.final_known).sum()) if dataset.final_known.any() else 0
    zeros = [f"that {unknown} final observations after terminals are unknown (zeros)"] if unknown else []
    warn_of_losses(dataset, "NPZ", (*schema.FLAT, "final_observations"), further=zeros)
    with atomic_write(Path(path)) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **columns)
    return Path(path)


SOURCE = Source(
    summary="An NPZ file of flat columns; name its keys by options.",
    suffixes=(".npz",),
    recognises=is_zip,
    is_last_resort=True,
    naming=NAMING,
    read=read,
    write=export_npz,
)

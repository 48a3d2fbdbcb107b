"""Files that `MDPDataset.save` wrote."""

from __future__ import annotations

from pathlib import Path

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.source import Source
from offlinekit.datasets.storage import is_ours, is_plain
from offlinekit.memory import memory_limit

SHARE = 0.5
"""Of the memory at hand: a plain file that is larger stays where it is."""


def read(path: Path) -> MDPDataset:
    """Reads a dataset file of offlinekit; a plain one that memory would hardly hold is opened by `MDPDataset.open`.

    Raises:
        FileFormatError: For a damaged file or one of another format.
    """
    if path.stat().st_size > SHARE * memory_limit() and is_plain(path):
        return MDPDataset.open(path)
    return MDPDataset.load(path)


SOURCE = Source(
    summary="A dataset that offlinekit saved.",
    suffixes=(".h5", ".hdf5"),
    recognises=is_ours,
    read=read,
    write=MDPDataset.save,
)

"""Files that `MDPDataset.save` wrote."""

from __future__ import annotations

from pathlib import Path

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.source import Source
from offlinekit.datasets.storage import is_ours


def read(path: Path) -> MDPDataset:
    """Reads a dataset file of offlinekit.

    Raises:
        FileFormatError: For a damaged file or one of another format.
    """
    return MDPDataset.load(path)


SOURCE = Source(
    summary="A dataset that offlinekit saved.",
    suffixes=(".h5", ".hdf5"),
    recognises=is_ours,
    read=read,
    write=MDPDataset.save,
)

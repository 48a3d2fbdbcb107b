"""A name for what a dataset holds, so that results say what they were learned from."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from offlinekit.types import leaves

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

FULL_BYTES = 1 << 26
"""Up to this size a column is read whole; of a larger one, evenly spaced rows of about this size together."""


def fingerprint(dataset: MDPDataset) -> str:
    """Returns "sha256:..." of the columns of a dataset; equal steps give equal names, whatever file they lie in.

    Observations, actions, rewards, terminals and timeouts count, with dtypes and shapes. Columns of more than
    64 MiB (images) are read at evenly spaced rows, so that a run on mapped frames starts at once; the name then
    begins with "sha256-sampled:", and a change between these rows goes unseen.

    Args:
        dataset: An MDPDataset.
    """
    digest, sampled = hashlib.sha256(), False
    for name in ("observations", "actions", "rewards", "terminals", "timeouts"):
        for column in leaves(getattr(dataset, name)):
            every = -(-column.nbytes // FULL_BYTES) or 1
            sampled = sampled or every > 1
            digest.update(f"{name} {column.dtype} {column.shape} ".encode())
            digest.update(np.ascontiguousarray(column[::every]).data.cast("B"))
    return f"{'sha256-sampled' if sampled else 'sha256'}:{digest.hexdigest()}"

"""As much of data in a file as estimates may hold in memory."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.editing.thinning import subsample
from offlinekit.errors import DatasetWarning
from offlinekit.memory import memory_limit
from offlinekit.sampling.block_reader import is_mapped, row_bytes
from offlinekit.sampling.blocks import POOL_BYTES

if TYPE_CHECKING:
    from offlinekit.metrics.ope.fitted_behaviour import Behaviour

TABLES = 20
"""Times the rows that an estimate and its checks of support take at once, at most."""
MEMORY_SHARE = 0.1
"""Of the memory at hand that the data may take, which the fits of each policy keep beside its actions."""


def held_in_memory(dataset: MDPDataset, n_tables: int, behaviour: Behaviour, seed: int) -> MDPDataset:
    """Returns the dataset; of one in a file as many episodes, drawn at random, as memory may hold.

    Args:
        dataset: Episodes to estimate from.
        n_tables: How many tables are made of its rows.
        behaviour: As `estimate` takes it.
        seed: Of the draw.

    Raises:
        ValueError: For a behaviour of its own rows, if some of them are left out.
    """
    most = min(MEMORY_SHARE * memory_limit() / n_tables, POOL_BYTES)
    size = len(dataset) * row_bytes(dataset)
    if not is_mapped(dataset) or size <= most:
        return dataset
    if hasattr(behaviour, "__len__") and not isinstance(behaviour, str):
        raise ValueError(
            "behaviour= of a dataset in a file must be no array, as some of its episodes are used; save the dataset "
            "with its behavior_log_probs"
        )
    part = subsample(dataset, fraction=most / size, seed=seed)
    warnings.warn(
        f"the data lie in a file and are larger than estimates may hold: {part.n_episodes:,} of "
        f"{dataset.n_episodes:,} episodes, drawn at random, are estimated from",
        DatasetWarning,
        stacklevel=4,
    )
    return part

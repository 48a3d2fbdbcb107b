"""Single transitions, drawn for inspection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from offlinekit.datasets.episodes import recorded_next
from offlinekit.errors import DatasetError
from offlinekit.types import Array, rows

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset


class Transitions(NamedTuple):
    """B transitions as numpy arrays."""

    observations: Any  # Tree of [B, ...].
    actions: Array  # float32 [B, A] or int64 [B].
    rewards: Array  # float32 [B].
    next_observations: Any  # Tree of [B, ...]; zeros where the MDP ended and nothing was recorded.
    terminals: Array  # bool [B].


def draw(dataset: MDPDataset, batch_size: int, seed: int | np.random.Generator | None) -> Transitions:
    """Returns transitions of an MDPDataset; `MDPDataset.sample` documents arguments and errors."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    blocked = np.flatnonzero(~recorded_next(dataset) & dataset.timeouts)
    if len(blocked) == len(dataset):
        raise DatasetError(
            "no row can be drawn: no next observation was recorded, and no episode is longer or terminal"
        )
    index = np.random.default_rng(seed).integers(0, len(dataset) - len(blocked), size=batch_size)
    index += np.searchsorted(blocked - np.arange(len(blocked)), index, side="right")
    return Transitions(
        rows(dataset.observations, index),
        dataset.actions[index],
        dataset.rewards[index],
        dataset.next_observations_at(index),
        dataset.terminals[index],
    )

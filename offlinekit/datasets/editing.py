"""Datasets mended: joined, thinned out, cut and relabelled. Each function returns a new dataset."""

from __future__ import annotations

import copy

import numpy as np

from offlinekit.datasets.columns import ROW_COLUMNS
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.types import map_tree, rows


def first_rows(dataset: MDPDataset, n_rows: int) -> MDPDataset:
    """Returns the first rows of a dataset; an episode that is cut ends by a timeout.

    Args:
        dataset: N rows.
        n_rows: At least 1; as many as there are where it is more.
    """
    if n_rows >= len(dataset):
        return dataset
    n_episodes = int(np.searchsorted(dataset.episode_ends, n_rows)) + 1
    whole = dataset[:n_episodes]
    part = copy.copy(whole)
    for name in ROW_COLUMNS:
        column = getattr(whole, name)
        setattr(part, name, None if column is None else rows(column, slice(0, n_rows)))
    if len(whole) == n_rows:
        return part
    part.timeouts = part.timeouts.copy()
    part.timeouts[-1] = True
    part.episode_ends = np.append(whole.episode_ends[:-1], n_rows)
    part.final_known = np.append(whole.final_known[:-1], True)
    after = whole.next_observations_at([n_rows - 1])
    part.final_observations = map_tree(
        lambda finals, last: np.concatenate([finals[:-1], last]), whole.final_observations, after
    )
    return part

"""Actions of several steps joined into one, for policies that decide once and then play out what they chose."""

from __future__ import annotations

import numpy as np

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.sampling.loss_weights import weights_of
from offlinekit.sampling.named_columns import with_extras


def chunked(dataset: MDPDataset, length: int) -> MDPDataset:
    """Returns a dataset whose rows hold the actions of a step and of those after it, [N, H, A].

    Two extras go with them: `valid` [N, H], which of the actions are cloned, those of the row's episode without rows of
    loss weight 0, and `whole` [N], whether all steps are of the episode and what follows them is known. Behind an
    episode's end its last action stands again.

    Args:
        dataset: Of continuous actions, in temporal order.
        length: H, at least 1.

    Raises:
        DatasetError: For transitions in no order of time.
    """
    if dataset.next_observations is not None:
        raise DatasetError(
            "chunks of actions need rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows)"
        )
    lengths, last = dataset.episode_lengths(), dataset.episode_ends - 1
    known = dataset.terminals[last] | dataset.final_known
    steps = np.arange(len(dataset))[:, None] + np.arange(length)
    ends = np.repeat(dataset.episode_ends, lengths)[:, None]
    whole = steps[:, -1] < ends[:, 0] - np.repeat(~known, lengths)
    held = np.minimum(steps, ends - 1)
    weights = weights_of(dataset)
    valid = (steps < ends) & (True if weights is None else weights[held] > 0)
    joined = with_extras(dataset, {"valid": valid, "whole": whole})
    joined.actions = dataset.actions[held]
    return joined

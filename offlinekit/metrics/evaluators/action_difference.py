"""How far a continuous policy is from what the data do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offlinekit.errors import UnsupportedError
from offlinekit.metrics.batches import predicted_actions

if TYPE_CHECKING:
    from offlinekit.algos.base import Algo
    from offlinekit.datasets import MDPDataset


def action_difference(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean over rows of the squared distance |a - policy(s)|^2, summed over action dimensions.

    Raises:
        UnsupportedError: For a dataset of discrete actions.
    """
    if dataset.actions.ndim == 1:
        raise UnsupportedError(
            "action_difference measures distances of continuous actions, but the dataset's are discrete; "
            "use action_match"
        )
    difference = predicted_actions(algo, dataset).astype(np.float64) - dataset.actions
    return float(np.mean(np.sum(difference**2, axis=-1)))

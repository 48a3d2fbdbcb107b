"""Distance of a continuous policy from the actions of the data, or from another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offlinekit.directions import less_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.batches import predicted_actions

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@less_is_better
@answers_guesses
def action_difference(algo: Algo, dataset: MDPDataset, *, other: Algo | None = None) -> float:
    """Returns the mean over rows of the squared distance |a - policy(s)|^2, summed over action dimensions.

    Args:
        algo: The policy.
        dataset: Of continuous actions.
        other: Whose greedy actions to compare with; None for the data's.

    Raises:
        UnsupportedError: For a dataset of discrete actions.
    """
    if dataset.actions.ndim == 1:
        raise UnsupportedError(
            "action_difference measures distances of continuous actions, but the dataset's are discrete; "
            "use action_match"
        )
    actions = dataset.actions if other is None else predicted_actions(other, dataset)
    difference = predicted_actions(algo, dataset).astype(np.float64) - actions
    return float(np.mean(np.sum(difference**2, axis=-1)))

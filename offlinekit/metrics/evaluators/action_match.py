"""Share of rows in which a discrete policy acts as the data do, or as another policy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offlinekit.directions import more_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.batches import predicted_actions

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@more_is_better
@answers_guesses
def action_match(algo: Algo, dataset: MDPDataset, *, other: Algo | None = None) -> float:
    """Returns the share of rows, in [0, 1], whose action is the policy's greedy action.

    Args:
        algo: The policy.
        dataset: Of discrete actions.
        other: Whose greedy actions to compare with; None for the data's.

    Raises:
        UnsupportedError: For a dataset of continuous actions.
    """
    if dataset.actions.ndim != 1:
        raise UnsupportedError(
            "action_match counts equal discrete actions, but the dataset's actions are continuous; "
            "use action_difference"
        )
    actions = dataset.actions if other is None else predicted_actions(other, dataset)
    return float(np.mean(predicted_actions(algo, dataset) == actions))

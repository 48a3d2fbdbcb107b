"""An algorithm's own estimate of its policy's value at the start of an episode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offlinekit.directions import more_is_better
from offlinekit.envs.frame_stacking import observations_at
from offlinekit.metrics.batches import check_values

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@more_is_better
def initial_value(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean value estimate of the first observation of each episode.

    Far above the best discounted return of the data it is a sign of overestimation.

    Raises:
        UnsupportedError: For an algorithm without values, such as behaviour cloning.
    """
    check_values(algo, "initial_value")
    return float(np.mean(algo.predict_value(observations_at(algo, dataset, dataset.episode_starts))))

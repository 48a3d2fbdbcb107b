"""An algorithm's own estimate of its policy's value, on average over the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offlinekit.directions import more_is_better
from offlinekit.metrics.batches import check_values, per_transition

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@more_is_better
def value(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean over rows of Q(s, pi(s)), in units of the scaled reward.

    Raises:
        UnsupportedError: For an algorithm without values of single states.
    """
    check_values(algo, "value")
    impl = algo.impl
    values = per_transition(algo, dataset, lambda batch: impl.predict_value(batch.observations, None))
    return float(values.mean())

"""Agreement of values with one another along the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from offlinekit.directions import less_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.batches import check_values, per_transition
from offlinekit.sampling.batch import Batch

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@less_is_better
def td_error(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean of (Q(s, a) - r - gamma**n (1 - d) Q(s', pi(s')))**2 over the n-step transitions.

    Rewards are scaled and joined, and discounts are, as in training. Q is the mean over critics and, if
    these learn quantiles, over quantiles. Rows whose next observation was not recorded are left out. On
    held-out episodes it shows overfitting: it grows there while it falls in training.

    Raises:
        UnsupportedError: For an algorithm without values of single states and actions, and for data without
            any next observation.
    """
    check_values(algo, "td_error")
    impl = algo.impl

    def errors(batch: Batch) -> Tensor:
        targets = batch.rewards + batch.discounts * impl.predict_value(batch.next_observations, None)
        return impl.predict_value(batch.observations, batch.actions) - targets

    td_errors = per_transition(algo, dataset, errors, with_next=True)
    if not len(td_errors):
        raise UnsupportedError(
            "td_error needs a next observation, and no row has one; give next_observations or terminals"
        )
    return float(np.mean(td_errors**2))

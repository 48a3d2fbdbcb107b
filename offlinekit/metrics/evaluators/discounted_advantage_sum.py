"""Estimated advantage of the policy's actions over those of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from offlinekit.directions import more_is_better
from offlinekit.metrics.batches import check_ordered, check_values, per_transition
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.n_step import returns_to_go

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@more_is_better
def discounted_advantage_sum(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean over rows t of sum_k gamma**k A(s_t+k, a_t+k), up to the end of the episode.

    A(s, a) = Q(s, a) - Q(s, pi(s)) of the data's action, so the sum is about zero where the policy does what
    the data do, and the lower, the larger the gain that the policy expects from leaving them.
    Source: Murphy 2005, "A generalization error for Q-learning".

    Raises:
        UnsupportedError: For an algorithm without values of single states and actions, and for unordered rows.
    """
    check_values(algo, "discounted_advantage_sum")
    check_ordered(dataset, "discounted_advantage_sum")
    impl = algo.impl

    def advantages(batch: Batch) -> Tensor:
        chosen = impl.predict_value(batch.observations, None)
        return impl.predict_value(batch.observations, batch.actions) - chosen

    advantages_of_rows = per_transition(algo, dataset, advantages)
    return float(np.mean(returns_to_go(dataset, advantages_of_rows, algo.gamma)))

"""Whether values separate successful episodes from the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offlinekit.directions import more_is_better
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.batches import check_values, per_transition

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@more_is_better
@answers_guesses
def soft_opc(algo: Algo, dataset: MDPDataset, *, return_threshold: float | None = None) -> float:
    """Returns the mean of Q(s, a) over the rows of successful episodes less its mean over all rows.

    Made for tasks with a success and a failure; higher is better. `functools.partial(soft_opc,
    return_threshold=200)` is an evaluator with a threshold.
    Source: Irpan et al. 2019, arXiv:1906.01624, SoftOPC with p = 1.

    Args:
        algo: With values.
        dataset: Holds successful episodes and others.
        return_threshold: Undiscounted, unscaled return from which on an episode is a success; None takes the
            median of the data's episodes.

    Raises:
        UnsupportedError: For an algorithm without values of single states and actions.
        ValueError: If no episode is a success.
    """
    check_values(algo, "soft_opc")
    returns = dataset.episode_returns()
    threshold = float(np.median(returns)) if return_threshold is None else return_threshold
    success = np.repeat(returns >= threshold, dataset.episode_lengths())
    if not success.any():
        raise ValueError(
            f"return_threshold must be reached by an episode, got {threshold:g}; the best has {returns.max():g}"
        )
    impl = algo.impl
    values = per_transition(
        algo, dataset, lambda batch: impl.predict_value(batch.observations, batch.actions)
    )
    return float(values[success].mean() - values.mean())

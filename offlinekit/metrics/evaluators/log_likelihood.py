"""Likelihood of the data's actions under a stochastic policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from offlinekit.directions import more_is_better
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.batches import per_transition

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset


@more_is_better
def log_likelihood(algo: Algo, dataset: MDPDataset) -> float:
    """Returns the mean over rows of log pi(a|s): of a probability, or of a density in units of the data.

    Raises:
        UnsupportedError: For a policy without probabilities, and for one that depends on earlier steps.
    """
    policy: Any = getattr(algo.impl, "policy", None)
    if getattr(algo, "is_stateful", False) or not hasattr(policy, "log_prob"):
        raise UnsupportedError(
            f"log_likelihood needs the probabilities of a policy, and that of {type(algo).__name__} has none; "
            "use action_match or action_difference"
        )
    log_probs = per_transition(
        algo, dataset, lambda batch: policy.log_prob(batch.observations, batch.actions)
    )
    stretched = algo.scaling.action  # Scaled actions are denser by the product of the scales.
    if stretched is None:
        return float(log_probs.mean())
    scale = np.broadcast_to(stretched.scale, dataset.actions.shape[1:])
    return float(log_probs.mean() - np.log(scale).sum())

"""Predictions over whole datasets, a slice at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from offlinekit.types import Array, ArrayTree, first_leaf, rows

if TYPE_CHECKING:
    from offlinekit.algos.base import Algo

ROWS_AT_ONCE = 8_192


def predicted_actions(algo: Algo, observations: ArrayTree) -> Array:
    """Returns the policy's greedy actions [N, ...] for observations [N, ...], in bounded memory."""
    n = len(first_leaf(observations))
    return np.concatenate(
        [
            algo.predict(rows(observations, slice(start, start + ROWS_AT_ONCE)))
            for start in range(0, n, ROWS_AT_ONCE)
        ]
    )

"""Distance of the policy's actions from all actions of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete, Space

from offlinekit.directions import less_is_better
from offlinekit.envs.frame_stacking import observations_at
from offlinekit.ground.action_spaces import one_hot
from offlinekit.ground.hints import answers_guesses
from offlinekit.metrics.batches import actions_at
from offlinekit.types import Array, leaves, row_parts

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

MOST_NUMBERS = 64
"""Observations of more numbers, such as images, are projected at random onto so many."""

ROWS_AT_ONCE = 512


@less_is_better
@answers_guesses
def out_of_distribution_distance(
    algo: Algo, dataset: MDPDataset, *, n_rows: int = 10_000, n_queries: int = 1_000, seed: int = 0
) -> float:
    """Returns the mean distance of (s, pi(s)) to the nearest (s, a) of the data, in standard deviations.

    Each dimension is divided by its standard deviation over the rows that are used. Two different discrete
    actions are one apart. 0 where the policy does what the data do; no more than the distance between the
    policy's action and the data's in the same state, since the state itself is among the neighbours.

    Args:
        algo: With networks.
        dataset: Of which a random part is used.
        n_rows: Rows among which neighbours are searched.
        n_queries: For how many of these rows distances are computed.
        seed: Of the rows that are drawn; the same ones at each call.
    """
    from sklearn.neighbors import KDTree  # Here: it takes a second to import.

    algo.check(dataset)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(dataset))[:n_rows])
    asked = np.sort(rng.permutation(len(chosen))[:n_queries])
    states = _standardised(_vectors(algo, dataset, chosen, seed))
    space = dataset.action_space
    taken = _action_vectors(dataset.actions[chosen], space)
    scale = 1.0 if isinstance(space, Discrete) else _scale(taken)
    policy = _action_vectors(actions_at(algo, dataset, chosen[asked]), space)
    tree = KDTree(np.hstack([states, taken / scale]))
    distances, _ = tree.query(np.hstack([states[asked], policy / scale]), k=1)
    return float(distances.mean())


def _vectors(algo: Algo, dataset: MDPDataset, index: Array, seed: int) -> Array:
    """Returns the observations of rows [B] as float64 [B, D], D at most `MOST_NUMBERS`."""
    project: Callable[[Array], Array] | None = None
    vectors = []
    for part in row_parts(index, ROWS_AT_ONCE):
        observations = observations_at(algo, dataset, part)
        flat = np.hstack([leaf.reshape(len(part), -1).astype(np.float64) for leaf in leaves(observations)])
        if project is None:
            project = _projection(flat, seed)
        vectors.append(project(flat))
    return np.concatenate(vectors)


def _projection(flat: Array, seed: int) -> Callable[[Array], Array]:
    """Returns what maps [B, D] onto few numbers that keep distances, on average, if D is large."""
    if flat.shape[1] <= MOST_NUMBERS:
        return np.asarray
    from sklearn.random_projection import GaussianRandomProjection

    projection: Callable[[Array], Array] = (
        GaussianRandomProjection(MOST_NUMBERS, random_state=seed).fit(flat).transform
    )
    return projection


def _action_vectors(actions: Array, space: Space[Any]) -> Array:
    """Returns actions as float64 [B, A]; discrete ones one-hot, such that different choices of a part are 1 apart."""
    if not isinstance(space, Discrete):
        return actions.astype(np.float64)
    return np.asarray(one_hot(actions, space) / np.sqrt(2.0), np.float64)


def _scale(vectors: Array) -> Array:
    """Returns the standard deviations [D]; 1 for what never changes."""
    deviations: Array = vectors.std(0)
    return np.where(deviations > 0, deviations, 1.0)


def _standardised(vectors: Array) -> Array:
    return vectors / _scale(vectors)

"""Loss weights of rows: those given to a run, as they travel with its dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from offlinekit.datasets.tabular.recency import PREFIX, Recency
from offlinekit.errors import DatasetError, did_you_mean
from offlinekit.sampling.named_columns import numbered, with_extras
from offlinekit.sampling.weights import check_weights
from offlinekit.types import Array, rows

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from offlinekit.datasets.mdp_dataset import MDPDataset

LossWeights: TypeAlias = "str | Array | Callable[[MDPDataset], Array]"
"""The name of one of the dataset's extras, a text of `Recency`, [N] numbers, or a function of the dataset."""

COLUMN = "loss weights"
"""The extra that holds them in the dataset of a run; no identifier, so that no extra of a user has that name."""

LEARNED = "learned_steps"
"""Column of windows in which some rows have loss weight 0: of which steps losses are taken, bool [B, K]."""


def loss_weights(dataset: MDPDataset, weights: LossWeights) -> Array:
    """Returns weights float64 [N], as they were given.

    Raises:
        DatasetError: For a name that is none of the extras, weights that are not [N], not finite or below 0, or
            none above 0.
    """
    if isinstance(weights, str) and weights.startswith(PREFIX) and weights not in dataset.extras:
        weights = Recency.from_text(weights)
    if isinstance(weights, str):
        if weights not in dataset.extras:
            known = ", ".join(map(repr, dataset.extras)) or "none"
            raise DatasetError(
                f"weights={weights!r} names no extra of this dataset, which has {known}"
                f"{did_you_mean(weights, dataset.extras)}; give MDPDataset(..., extras={{{weights!r}: array}}), or the "
                "array itself"
            )
        given: ArrayLike = dataset.extras[weights]
    else:
        given = weights(dataset) if callable(weights) else weights
    array = np.asarray(given)
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"weights must be numbers, one a row, got {array.dtype}")
    array = array.astype(np.float64)
    check_weights(array, len(dataset))
    return array


def weighted(dataset: MDPDataset, weights: Array, scale: float = 1.0) -> MDPDataset:
    """Returns a dataset whose samplers draw rows with their loss weights, and none of weight 0.

    Episodes without a positive weight are left out of it, so that nothing learns from them; rows keep their numbers.

    Args:
        dataset: N rows.
        weights: [N], as `loss_weights` gives them.
        scale: Mean of the weights that samplers give; not 1 for a part of a larger dataset.
    """
    joined = with_extras(dataset, {COLUMN: weights})
    joined.metadata = {**dataset.metadata, COLUMN: scale}
    alive = np.maximum.reduceat(weights, dataset.episode_starts) > 0
    return joined if alive.all() else numbered(joined)[alive]


def weights_of(dataset: MDPDataset) -> Array | None:
    """Returns the loss weights [N] that `weighted` gave a dataset, or None."""
    return dataset.extras.get(COLUMN)


def scaled_weights(dataset: MDPDataset, drawn: Array) -> Array:
    """Returns the loss weights float32 [N] of a dataset, of mean 1 over the rows that are drawn.

    Args:
        dataset: One that `weighted` gave weights.
        drawn: Numbers of rows, or a mask.
    """
    weights = dataset.extras[COLUMN]
    scaled: Array = (weights * (dataset.metadata[COLUMN] / weights[drawn].mean())).astype(np.float32)
    return scaled


def learned_column(dataset: MDPDataset) -> dict[str, Array]:
    """Returns the column of rows with a positive loss weight, bool [N], by its name; none if all have one."""
    weights = weights_of(dataset)
    return {} if weights is None or weights.all() else {LEARNED: weights > 0}


class PositiveRows:
    """The rows of positive weight, as scalers see a dataset; returns are those of all its episodes."""

    def __init__(self, dataset: MDPDataset, weights: Array) -> None:
        chosen = weights > 0
        self.observations = rows(dataset.observations, chosen)
        self.actions, self.rewards = dataset.actions[chosen], dataset.rewards[chosen]
        self.action_space, self.episode_returns = dataset.action_space, dataset.episode_returns
        self.schema = dataset.schema


def learned_rows(dataset: MDPDataset) -> MDPDataset | PositiveRows:
    """Returns what scalers and ranges are fitted on: the dataset, without rows of loss weight 0."""
    weights = weights_of(dataset)
    return dataset if weights is None or weights.all() else PositiveRows(dataset, weights)


def describe(weights: Array) -> Mapping[str, str]:
    """Returns what a run's config keeps of its loss weights."""
    return {"hash": hashlib.sha256(np.ascontiguousarray(weights).tobytes()).hexdigest()}

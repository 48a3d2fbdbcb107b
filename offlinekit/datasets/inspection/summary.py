"""Statistics of a dataset, taken block by block: no column is copied whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Discrete, Space

from offlinekit.datasets.validation import blocks
from offlinekit.ground.action_spaces import output_numbers, part_sizes
from offlinekit.types import Array, map_tree

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

BLOCK = 1 << 18
"""Numbers of a block of moments, which as float64 stay in the processor's cache."""


def moments(flat: Array) -> tuple[Array, Array]:
    """Returns mean and std of [N, D] by column, float64 [D]; sums are taken about the mean of each block.

    Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", eq. (1.5).
    """
    n, mean, squares = 0, np.zeros(flat.shape[1]), np.zeros(flat.shape[1])
    for part in blocks(flat, BLOCK * flat.itemsize):
        block, m = part.astype(np.float64), len(part)
        centre = np.ones(m) @ block / m
        block -= centre
        block *= block
        step = centre - mean
        squares += np.ones(m) @ block + step**2 * (n * m / (n + m))
        mean += step * (m / (n + m))
        n += m
    return mean, np.sqrt(squares / n)


def summarise(values: Array) -> dict[str, float]:
    """Returns mean, std, min, max and median of [n] values as floats."""
    values = np.asarray(values)
    mean, std = moments(values[:, None])
    low, high = (len(values) - 1) // 2, len(values) // 2
    middle = np.partition(values, (low, high))[[low, high]].astype(np.float64)
    return {
        "mean": float(mean[0]),
        "std": float(std[0]),
        "min": float(values.min()),
        "max": float(values.max()),
        "median": float(middle.mean()),
    }


def feature_moments(leaf: Array) -> dict[str, list[float]]:
    """Returns mean and std of [N, D] by feature; of images [N, H, W, ...] over everything."""
    mean, std = moments(leaf if leaf.ndim == 2 else leaf.reshape(-1, 1))
    return {"mean": mean.tolist(), "std": std.tolist()}


def counted(actions: Array, space: Discrete) -> Array:
    """Returns how often each action, or each choice of factored parts side by side, was taken, int64."""
    return np.bincount(output_numbers(actions, space).ravel(), minlength=sum(part_sizes(space)))


def describe_actions(actions: Array, space: Space[Any]) -> dict[str, list[float]]:
    """Returns the counts of discrete actions, or mean and std by dimension of continuous ones."""
    if not isinstance(space, Discrete):
        return feature_moments(actions)
    return {"counts": counted(actions, space).tolist()}


def describe(dataset: MDPDataset) -> dict[str, Any]:
    """Returns the statistics of an MDPDataset as plain data, ready for JSON."""
    return {
        "rows": len(dataset),
        "episodes": dataset.n_episodes,
        "terminals": int(dataset.terminals.sum()),
        "timeouts": int(dataset.timeouts.sum()),
        "final_observations_known": int(dataset.final_known.sum()),
        "return": summarise(dataset.episode_returns()),
        "length": summarise(dataset.episode_lengths()),
        "reward": summarise(dataset.rewards),
        "observations": map_tree(feature_moments, dataset.observations),
        "actions": describe_actions(dataset.actions, dataset.action_space),
    }

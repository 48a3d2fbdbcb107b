"""Statistics of a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from offlinekit.types import Array, map_tree


def summarise(values: Array) -> dict[str, float]:
    """Returns mean, std, min, max and median of [n] values as floats."""
    values = np.asarray(values, np.float64)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "median": float(np.median(values)),
    }


def feature_moments(leaf: Array) -> dict[str, list[float]]:
    """Returns mean and std of [N, D] by feature; of images [N, H, W, ...] over everything."""
    axis = 0 if leaf.ndim == 2 else None
    mean = np.atleast_1d(leaf.mean(axis=axis, dtype=np.float64))
    std = np.atleast_1d(leaf.std(axis=axis, dtype=np.float64))
    return {"mean": mean.tolist(), "std": std.tolist()}


def describe_actions(actions: Array, n_actions: int | None) -> dict[str, list[float]]:
    """Returns the counts of discrete actions, or mean and std by dimension of continuous ones."""
    if n_actions is None:
        return feature_moments(actions)
    return {"counts": np.bincount(actions, minlength=n_actions).tolist()}


def describe(dataset: Any) -> dict[str, Any]:
    """Returns the statistics of an MDPDataset as plain data, ready for JSON."""
    n_actions = getattr(dataset.action_space, "n", None)
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
        "actions": describe_actions(dataset.actions, None if n_actions is None else int(n_actions)),
    }

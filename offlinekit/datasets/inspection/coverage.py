"""Coverage of a dataset: quantiles, bounds and histograms."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.inspection.summary import counted
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.validation import blocks, named_leaves
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.types import Array

ROWS_LOOKED_AT = 100_000
"""Quantiles are of at most so many rows, evenly chosen; lowest and highest values of all."""
QUANTILES = (0.05, 0.5, 0.95)
AT_BOUND = 0.001
"""Share of the range within which an action counts as at a bound."""


class Spread(NamedTuple):
    """Spread of the numbers of one dimension."""

    name: str
    at_bounds: float | None  # Share of rows at a bound of the space; None if it has none.
    low: float
    quantile_5: float
    median: float
    quantile_95: float
    high: float


def spread_of(name: str, leaf: Array, low: Array | None = None, high: Array | None = None) -> list[Spread]:
    """Returns the spread of each dimension of [N, ...] numbers; of images over all pixels.

    Args:
        name: Of the column; dimensions are named like `actions[2]`.
        leaf: [N, ...].
        low: Lower bounds of a row, or None.
        high: Upper bounds of a row, or None.
    """
    single = leaf.ndim > 2 or leaf.dtype == np.uint8
    flat = leaf.reshape(-1, 1) if single else leaf.reshape(len(leaf), -1)
    step = -(-len(flat) // ROWS_LOOKED_AT)
    middle = np.quantile(flat[::step], QUANTILES, axis=0)
    numbers = np.stack([flat.min(axis=0), *middle, flat.max(axis=0)])
    names = _numbered(name, flat.shape[1])
    shares = [None] * len(names) if single or low is None or high is None else _at_bounds(flat, low, high)
    return [
        Spread(names[i], shares[i], *(float(number) for number in numbers[:, i])) for i in range(len(names))
    ]


def _at_bounds(flat: Array, low: Array, high: Array) -> list[float | None]:
    low, high = np.asarray(low, np.float64).reshape(-1), np.asarray(high, np.float64).reshape(-1)
    near = AT_BOUND * (high - low)
    with np.errstate(invalid="ignore"):
        counts = [((part <= low + near) | (part >= high - near)).sum(axis=0) for part in blocks(flat)]
    at = np.sum(counts, axis=0) / len(flat)
    bounded = np.isfinite(low) & np.isfinite(high)
    return [float(share) if is_bounded else None for share, is_bounded in zip(at, bounded, strict=True)]


def observation_spreads(dataset: MDPDataset) -> list[Spread]:
    """Returns the spread of each dimension of the observations, by its name if they are of a table with a schema."""
    named = named_leaves(dataset.observations, "observations")
    spreads = [(spread_of(name, leaf), leaf_names(dataset, name, leaf)) for name, leaf in named]
    return [
        s._replace(name=name) for of_leaf, names in spreads for s, name in zip(of_leaf, names, strict=True)
    ]


def leaf_names(dataset: MDPDataset, name: str, leaf: Array) -> list[str]:
    """Returns the names of the dimensions of a column, those of a schema if it has one; images are one dimension."""
    n = 1 if leaf.ndim > 2 or leaf.dtype == np.uint8 else int(np.prod(leaf.shape[1:]))
    features = () if dataset.schema is None else dataset.schema.features
    if name.startswith("observations") and len(features) == n and leaf.dtype != np.uint8:
        return list(features)
    return _numbered(name, n)


def _numbered(name: str, n: int) -> list[str]:
    return [name] if n == 1 else [f"{name}[{i}]" for i in range(n)]


def action_spreads(dataset: MDPDataset) -> list[Spread]:
    """Returns the spread of each dimension of continuous actions; of discrete ones nothing."""
    space = dataset.action_space
    if not isinstance(space, spaces.Box):
        return []
    return spread_of("actions", dataset.actions, space.low, space.high)


def action_counts(dataset: MDPDataset) -> Array | None:
    """Returns how often each discrete action, or choice of a factored part, was taken, int64; None if continuous."""
    space = dataset.action_space
    if not isinstance(space, spaces.Discrete):
        return None
    return counted(dataset.actions, space)


def action_names(dataset: MDPDataset, n_choices: int, part: int = 0) -> list[str]:
    """Returns the names of the choices of a part of discrete actions: labels of a schema if it has them, or numbers."""
    labels = () if dataset.schema is None else dataset.schema.labels[part : part + 1]
    is_labelled = len(labels) == 1 and len(labels[0]) == n_choices
    if is_labelled:
        return list(labels[0])
    space = dataset.action_space
    starts = space.starts if isinstance(space, JointDiscrete) else (int(getattr(space, "start", 0)),)
    return [str(starts[part] + choice) for choice in range(n_choices)]


def output_names(dataset: MDPDataset) -> list[str]:
    """Returns the name of each entry of `action_counts`: an action by its parts, or a choice of a factored part."""
    space = dataset.action_space
    if not isinstance(space, JointDiscrete):
        return action_names(dataset, int(getattr(space, "n", 0)))
    names = [action_names(dataset, size, part) for part, size in enumerate(space.sizes)]
    if space.is_factored:
        return [f"[{part}]={name}" for part, own in enumerate(names) for name in own]
    return [", ".join(parts) for parts in itertools.product(*names)]


def histogram(values: Array, n_bins: int = 10) -> tuple[Array, Array]:
    """Returns counts [n] and edges [n + 1]; one bin a value if there are at most n_bins different ones."""
    different = np.unique(values[: 10 * ROWS_LOOKED_AT])
    if len(different) <= n_bins and np.isin(values, different).all():
        counts = np.array([(values == value).sum() for value in different])
        return counts, np.append(different, different[-1])
    return np.histogram(values.astype(np.float64), bins=n_bins)


def describe_coverage(dataset: MDPDataset) -> dict[str, Any]:
    """Returns the coverage of observations and actions and the histogram of rewards as plain data."""
    counts, edges = histogram(dataset.rewards)
    taken = action_counts(dataset)
    return {
        "observation_coverage": [spread._asdict() for spread in observation_spreads(dataset)],
        "action_coverage": [spread._asdict() for spread in action_spreads(dataset)],
        "action_counts": None if taken is None else taken.tolist(),
        "reward_histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
    }

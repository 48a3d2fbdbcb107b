"""Datasets mended: joined, thinned out, cut and relabelled. Each function returns a new dataset."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.editing.concatenation import concatenate
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.types import map_tree, rows


def first_rows(dataset: MDPDataset, n_rows: int) -> MDPDataset:
    """Returns the first rows of a dataset; an episode that is cut ends by a timeout.

    Args:
        dataset: N rows.
        n_rows: At least 1; as many as there are where it is more.
    """
    if n_rows >= len(dataset):
        return dataset
    n_episodes = int(np.searchsorted(dataset.episode_ends, n_rows)) + 1
    whole = dataset[:n_episodes]
    part = copy.copy(whole)
    for name in schema.ROWS:
        column = getattr(whole, name)
        setattr(part, name, None if column is None else rows(column, slice(0, n_rows)))
    if len(whole) == n_rows:
        return part
    part.timeouts = part.timeouts.copy()
    part.timeouts[-1] = True
    part.episode_ends = np.append(whole.episode_ends[:-1], n_rows)
    part.final_known = np.append(whole.final_known[:-1], True)
    after = whole.next_observations_at([n_rows - 1])
    part.final_observations = map_tree(
        lambda finals, last: np.concatenate([finals[:-1], last]), whole.final_observations, after
    )
    return part


def merge(
    datasets: Sequence[MDPDataset],
    weights: Sequence[float] | None = None,
    *,
    n_rows: int | None = None,
    name: str | None = None,
    seed: int = 0,
) -> MDPDataset:
    """Returns the episodes of several datasets, all of them or in a mixture of given shares.

    Without weights every episode is kept. With weights each dataset gives about its share of the rows, whole
    episodes drawn without replacement, in recorded order: as many as the scarcest of them allows, or about
    `n_rows` in all.

    Args:
        datasets: At least one, of equal spaces.
        weights: Positive shares, one a dataset; they need not sum to 1.
        n_rows: Rows wanted in all; with weights only.
        name: Of the result; None joins their names by "+".
        seed: Of the draw.

    Raises:
        ValueError: For no datasets, other numbers of weights, weights that are not positive, n_rows without
            weights, or more rows than a dataset has for its share.
        DatasetError: If spaces or mask sizes differ.
    """
    if not datasets:
        raise ValueError("merge needs at least one dataset, got none")
    if weights is None:
        if n_rows is not None:
            raise ValueError(f"n_rows={n_rows} needs weights; give one for each dataset, or use subsample")
        chosen = list(datasets)
    else:
        shares = _rows_by_weight(datasets, weights, n_rows)
        pairs = zip(datasets, shares, np.random.SeedSequence(seed).spawn(len(shares)), strict=True)
        chosen = [_episodes_of_about(part, share, child) for part, share, child in pairs]
    note = {
        "merge": [part.name for part in datasets],
        "weights": None if weights is None else [float(weight) for weight in weights],
        "rows": [len(part) for part in chosen],
        "seed": seed,
    }
    joined: MDPDataset = concatenate(chosen)
    return _noted(joined, note, name or "+".join(part.name for part in datasets))


def _rows_by_weight(
    datasets: Sequence[MDPDataset], weights: Sequence[float], n_rows: int | None
) -> list[float]:
    """Returns how many rows each dataset gives."""
    shares = np.asarray(weights, np.float64)
    if shares.shape != (len(datasets),) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(
            f"weights must be {len(datasets)} positive numbers, one a dataset, got {list(weights)}"
        )
    shares = shares / shares.sum()
    most = min(len(part) / share for part, share in zip(datasets, shares, strict=True))
    if n_rows is not None and not 0 < n_rows <= most + 0.5:
        raise ValueError(f"n_rows must be in [1, {int(most)}] with these weights and datasets, got {n_rows}")
    return [float(share * (n_rows or most)) for share in shares]


def _episodes_of_about(
    dataset: MDPDataset, n_rows: float, seed: int | np.random.Generator | None
) -> MDPDataset:
    """Returns randomly drawn episodes, in recorded order, whose rows come nearest to a number."""
    order = np.random.default_rng(seed).permutation(dataset.n_episodes)
    rows_so_far = np.cumsum(dataset.episode_lengths()[order])
    n = int(np.argmin(np.abs(rows_so_far - n_rows))) + 1
    return dataset[np.sort(order[:n])]


def subsample(
    dataset: MDPDataset,
    *,
    fraction: float | None = None,
    top: float | None = None,
    first: int | None = None,
    name: str | None = None,
    seed: int = 0,
) -> MDPDataset:
    """Returns some of the episodes of a dataset, in recorded order.

    Args:
        dataset: E episodes.
        fraction: Share of the rows, in (0, 1]: episodes are drawn until they come nearest to it.
        top: Share of the episodes, in (0, 1], those of the highest returns; the earlier of equal ones.
        first: Number of episodes from the start, at least 1.
        name: Of the result; None keeps the dataset's.
        seed: Of the draw of a fraction.

    Raises:
        ValueError: For not exactly one of the three ways, or a number out of range.
    """
    given = {"fraction": fraction, "top": top, "first": first}
    ways = {way: value for way, value in given.items() if value is not None}
    if len(ways) != 1:
        raise ValueError(f"subsample needs exactly one of fraction, top and first, got {ways or 'none'}")
    ((way, value),) = ways.items()
    if way == "first":
        if value < 1:
            raise ValueError(f"first must be at least 1 episode, got {first}")
        part = dataset[: int(value)]
    elif not 0 < value <= 1:
        raise ValueError(f"{way} must be in (0, 1], got {value}")
    elif way == "top":
        part = best_episodes(dataset, max(round(value * dataset.n_episodes), 1))
    else:
        part = _episodes_of_about(dataset, value * len(dataset), seed)
    note = {"subsample": dataset.name, **ways, **({"seed": seed} if way == "fraction" else {})}
    return _noted(part, note, name or dataset.name)


def best_episodes(dataset: MDPDataset, n: int) -> MDPDataset:
    """Returns the n episodes of the highest return, in recorded order; the earlier of equal ones."""
    order = np.argsort(-dataset.episode_returns(), kind="stable")
    return dataset[np.sort(order[:n])]


def _noted(dataset: MDPDataset, note: dict[str, Any], name: str) -> MDPDataset:
    """Returns a dataset whose metadata say, after earlier ones, what was done to it."""
    edits = [*dataset.metadata.get("edits", []), note]
    return dataset.with_options(name=name, metadata={"edits": edits})

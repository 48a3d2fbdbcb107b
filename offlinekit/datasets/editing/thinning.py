"""Datasets mended: joined, thinned out, cut and relabelled. Each function returns a new dataset."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.editing.concatenation import concatenate, warn_of_lost_extras
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.types import Array, leaves, rows


def first_rows(dataset: MDPDataset, n_rows: int) -> MDPDataset:
    """Returns the first rows of a dataset; an episode that is cut ends by a timeout.

    Args:
        dataset: N rows.
        n_rows: At least 1; as many as there are where it is more.
    """
    if n_rows >= len(dataset):
        return dataset
    parts = cut(dataset, np.array([n_rows]))
    return parts[: int(np.searchsorted(parts.episode_ends, n_rows)) + 1]


def merge(
    datasets: Sequence[MDPDataset],
    weights: Sequence[float] | None = None,
    *,
    n_rows: int | None = None,
    name: str | None = None,
    seed: int = 0,
) -> MDPDataset:
    """Returns the episodes of several datasets, all of them or in a mixture of given shares.

    Extras and log-probabilities are kept as by `MDPDataset.concat`.

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
    warn_of_lost_extras(chosen)
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
        part = best_pieces(dataset, dataset.episode_starts, max(round(value * dataset.n_episodes), 1))
    else:
        part = _episodes_of_about(dataset, value * len(dataset), seed)
    note = {"subsample": dataset.name, **ways, **({"seed": seed} if way == "fraction" else {})}
    return _noted(part, note, name or dataset.name)


def piece_starts(dataset: MDPDataset, length: int | None) -> Array:
    """Returns the first rows of the pieces of a dataset, int64 [P]: of its episodes, or of runs of rows.

    Args:
        dataset: N rows.
        length: Rows of a run, which ends earlier at a terminal and goes on over a timeout; None takes episodes.
    """
    if length is None:
        return dataset.episode_starts
    after = np.flatnonzero(dataset.terminals[:-1]) + 1
    begins = np.zeros(len(dataset), np.int64)
    begins[after] = after
    since = np.arange(len(dataset)) - np.maximum.accumulate(begins)
    return np.flatnonzero(since % length == 0)


def best_pieces(dataset: MDPDataset, starts: Array, n: int) -> MDPDataset:
    """Returns the n pieces of the highest return, in recorded order; the earlier of equal ones.

    Args:
        dataset: N rows.
        starts: First rows of the pieces [P], the first of them 0, rising.
        n: At most P.
    """
    returns = np.add.reduceat(dataset.rewards, starts, dtype=np.float64)
    best = np.argsort(-returns, kind="stable")[:n]
    parts = cut(dataset, starts)
    return parts[np.isin(np.searchsorted(starts, parts.episode_starts, side="right") - 1, best)]


def cut(dataset: MDPDataset, starts: Array) -> MDPDataset:
    """Returns the rows of a dataset in more episodes, since some begin at `starts` too; what is cut ends by a timeout.

    Args:
        dataset: N rows.
        starts: Rows in [0, N).
    """
    new = np.setdiff1d(starts, dataset.episode_starts)
    if not len(new):
        return dataset
    part = copy.copy(dataset)
    part.episode_ends = np.union1d(dataset.episode_ends, new)
    part.episode_starts = np.concatenate([np.zeros(1, np.int64), part.episode_ends[:-1]])
    part.timeouts = dataset.timeouts.copy()
    part.timeouts[new - 1] = True
    whole = np.searchsorted(dataset.episode_ends, part.episode_ends)
    for (
        name
    ) in schema.EPISODES:  # Indexing by numbers copies, so that what is changed below is the part's own.
        setattr(part, name, rows(getattr(dataset, name), whole))
    at = np.searchsorted(part.episode_ends, new)
    part.final_known[at] = True
    for final, following in zip(
        leaves(part.final_observations), leaves(dataset.next_observations_at(new - 1)), strict=True
    ):
        final[at] = following
    return part


def _noted(dataset: MDPDataset, note: dict[str, Any], name: str) -> MDPDataset:
    """Returns a dataset whose metadata say, after earlier ones, what was done to it."""
    edits = [*dataset.metadata.get("edits", []), note]
    return dataset.with_options(name=name, metadata={"edits": edits})

"""What moved between two periods: columns of the observations, actions and rewards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from gymnasium import spaces

from offlinekit.datasets.inspection.coverage import action_names, leaf_names
from offlinekit.datasets.validation import named_leaves
from offlinekit.errors import DatasetError
from offlinekit.ground.action_spaces import JointDiscrete
from offlinekit.ground.hints import answers_guesses
from offlinekit.ground.progress import Progress
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

MOST_ROWS = 20_000
"""Rows of each period that are compared, evenly chosen."""
LEVEL = 0.05


class Moved(NamedTuple):
    """How one column differs between two periods."""

    name: str
    before: float  # Mean of the first period; of a label its share.
    after: float  # Of the second.
    distance: (
        float  # Kolmogorov-Smirnov: the largest difference of the shares of rows up to a value, in [0, 1].
    )
    p_value: float  # That any column of data without drift would show such a distance.


@dataclass(frozen=True)
class Drift:
    """Which columns moved between two periods.

    Attributes:
        columns: Each column, the largest distance first.
        n_episodes: Of the two periods.
    """

    columns: tuple[Moved, ...]
    n_episodes: tuple[int, int]

    @property
    def moved(self) -> list[str]:
        """Names of the columns with a p-value below 0.05."""
        return [column.name for column in self.columns if column.p_value < LEVEL]


@answers_guesses
def drift(
    before: MDPDataset,
    after: MDPDataset,
    *,
    n_permutations: int = 199,
    seed: int = 0,
    progress: bool = True,
) -> Drift:
    """Compares two periods, such as those of `dataset.split(by="day")`, column by column.

    The statistic is the Kolmogorov-Smirnov distance between the rows of the periods; of a discrete action, each label
    is a column of 0 and 1, whose distance is the difference of its shares. Rows of an episode depend on one another,
    so p-values come from permuting whole episodes between the periods. They are corrected for the number of columns:
    each is the share of permutations in which the largest distance of any column reaches this one (Westfall and
    Young 1993, single-step maxT), so that data without drift show a column below 0.05 in at most 1 of 20 reports.

    Args:
        before: The first period.
        after: The second one, with the same columns.
        n_permutations: Number of permutations; p-values are at least 1 / (n_permutations + 1).
        seed: Of the permutations.
        progress: Whether to show how far it is, if it takes more than a moment.

    Raises:
        DatasetError: For other columns.
        ValueError: For fewer than 19 permutations, with which no p-value can be below 0.05.
    """
    if n_permutations < 1 / LEVEL - 1:
        raise ValueError(f"n_permutations must be at least 19, got {n_permutations}")
    _check_alike(before, after)
    names, first = _columns(before)
    _, second = _columns(after)
    values = np.concatenate([first, second])
    episodes = np.concatenate([_episodes(before), before.n_episodes + _episodes(after)])
    n_before, n_all = before.n_episodes, before.n_episodes + after.n_episodes
    rng, is_before = np.random.default_rng(seed), np.arange(n_all) < n_before
    drawn = np.stack([is_before, *(rng.permutation(is_before) for _ in range(n_permutations))])
    is_before, distances = drawn[:, episodes], np.zeros((len(names), len(drawn)))
    with Progress(f"drift of {before.name}", len(names), shown=progress, unit="column") as bar:
        for i, column in enumerate(values.T):
            distances[i] = _distances(column, is_before)
            bar.advance(1)
    largest = distances[:, 1:].max(0)
    rows = [
        Moved(
            name,
            float(first[:, i].mean()),
            float(second[:, i].mean()),
            float(distances[i, 0]),
            float((1 + (largest >= distances[i, 0] - 1e-12).sum()) / (1 + n_permutations)),
        )
        for i, name in enumerate(names)
    ]
    return Drift(tuple(sorted(rows, key=lambda row: -row.distance)), (n_before, after.n_episodes))


def _distances(column: Array, is_before: Array) -> Array:
    """Returns the Kolmogorov-Smirnov distance of a column [N] for each choice [P, N] of the rows of one period."""
    if column.min() == column.max():  # As of a label that nobody took.
        return np.zeros(len(is_before))
    order = np.argsort(column, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(column[order])), len(column) - 1)  # The last row of each value.
    chosen = is_before[:, order]
    up_to, n_chosen = np.cumsum(chosen, axis=1, dtype=np.int64)[:, ends], chosen.sum(1, keepdims=True)
    others = (ends + 1) - up_to
    apart = up_to / np.maximum(n_chosen, 1) - others / np.maximum(len(column) - n_chosen, 1)
    distances: Array = np.abs(apart).max(1)
    return distances


def _rows(dataset: MDPDataset) -> Array:
    return np.arange(len(dataset))[:: -(-len(dataset) // MOST_ROWS)]


def _episodes(dataset: MDPDataset) -> Array:
    """Returns the number of the episode of each row that is compared."""
    return np.searchsorted(dataset.episode_ends, _rows(dataset), side="right")


def _columns(dataset: MDPDataset) -> tuple[list[str], Array]:
    """Returns the names of the columns and their numbers, float64 [n, F]; of images there are none."""
    named = list(_named_columns(dataset, _rows(dataset)))
    return [name for name, _ in named], np.stack([column for _, column in named], axis=1).astype(np.float64)


def _named_columns(dataset: MDPDataset, rows: Array) -> Iterator[tuple[str, Array]]:
    for name, leaf in named_leaves(dataset.observations, "observations"):
        if leaf.ndim == 2:
            yield from zip(leaf_names(dataset, name, leaf), np.asarray(leaf[rows]).T, strict=True)
    if isinstance(dataset.action_space, spaces.Discrete):
        yield from _choices(dataset, dataset.action_space, dataset.actions[rows])
    else:
        taken = dataset.actions[rows]
        yield from zip(leaf_names(dataset, "actions", taken), taken.T, strict=True)
    yield "reward", dataset.rewards[rows]


def _choices(dataset: MDPDataset, space: spaces.Discrete, taken: Array) -> Iterator[tuple[str, Array]]:
    """Yields each choice of each part of discrete actions [n] as a column, True where it was taken."""
    joint = space if isinstance(space, JointDiscrete) else None
    sizes, starts = ((int(space.n),), (int(space.start),)) if joint is None else (joint.sizes, joint.starts)
    parts = taken[:, None] if joint is None else joint.split(taken)
    for i, size in enumerate(sizes):
        name = "action" if len(sizes) == 1 else f"action[{i}]"
        for choice, label in enumerate(action_names(dataset, size, i), starts[i]):
            yield f"{name}={label}", parts[:, i] == choice


def _check_alike(before: MDPDataset, after: MDPDataset) -> None:
    for field in ("observation_space", "action_space"):
        ours, theirs = getattr(before, field), getattr(after, field)
        if ours != theirs:
            raise DatasetError(f"periods need one {field}, got {ours} and {theirs}; read both alike")
    if before.schema is not None and after.schema is not None:
        for difference in before.schema.differences(after.schema):
            raise DatasetError(
                f"periods need one schema, got {difference}; read the second by that of the first: "
                "get_dataset(path, schema=before.schema)"
            )

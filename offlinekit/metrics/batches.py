"""Predictions over whole datasets, a slice at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from offlinekit.envs.frame_stacking import observations_at
from offlinekit.envs.past.sight import sight_of
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import joined_actions
from offlinekit.sampling.batch import Batch, TrajectoryBatch
from offlinekit.sampling.transition_table import TransitionTable
from offlinekit.training.undisturbed import undisturbed
from offlinekit.types import Array, leaves, row_parts

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.core.bases.text_model import TextModel
    from offlinekit.datasets import MDPDataset

ROWS_AT_ONCE = 2_048

BYTES_AT_ONCE = 1 << 26
"""Size of the episodes whose transitions lie on the device together; one longer episode is taken whole."""


def predicted_actions(algo: Algo, dataset: MDPDataset) -> Array:
    """Returns the policy's greedy actions [N, ...] in all rows of a dataset, in bounded memory."""
    if hasattr(algo, "predict_rows"):  # One that depends on the steps before a row, too.
        remembered: Array = algo.predict_rows(dataset)
        return remembered
    return _predicted(algo, dataset, np.arange(len(dataset.actions)))


def actions_at(algo: Algo, dataset: MDPDataset, index: Array) -> Array:
    """Returns the policy's greedy actions [B, ...] in rows [B]."""
    if getattr(algo, "is_stateful", False):
        return predicted_actions(algo, dataset)[index]
    return _predicted(algo, dataset, index)


def _predicted(algo: Algo, dataset: MDPDataset, index: Array) -> Array:
    parts = row_parts(index, ROWS_AT_ONCE)
    actions = np.concatenate([algo.predict(observations_at(algo, dataset, part)) for part in parts])
    return joined_actions(actions, dataset.action_space)


def check_values(algo: Algo, metric: str) -> None:
    """Checks that an algorithm estimates the values of single states and actions.

    Raises:
        UnsupportedError: If it has no values, or depends on the steps before a state.
    """
    name = type(algo).__name__
    if not algo.has_value:
        raise UnsupportedError(f"{name} estimates no values, so {metric} cannot be computed")
    if getattr(algo, "is_stateful", False):
        raise UnsupportedError(
            f"{metric} needs the value of a state and an action by themselves, but {name} depends on the steps "
            "before them; evaluate it with evaluate()"
        )


def check_ordered(dataset: MDPDataset, metric: str) -> None:
    """Checks that rows follow one another in time.

    Raises:
        UnsupportedError: For unordered transitions.
    """
    if dataset.next_observations is not None:
        raise UnsupportedError(
            f"{metric} sums over the steps of episodes, but {dataset.name!r} holds unordered transitions "
            "(next_observations differ from the following rows); give rows in order of time"
        )


def per_transition(
    algo: Algo, dataset: MDPDataset, measure: Callable[[Batch], Tensor], *, with_next: bool = False
) -> Array:
    """Measures every transition of a dataset, as the algorithm sees them: scaled, stacked, of its n steps.

    Args:
        algo: With networks.
        dataset: N rows; on the device lies one group of whole episodes after another.
        measure: Returns one number a transition, [B].
        with_next: Whether rows without a next observation are left out.

    Returns:
        float64 [N], or fewer with `with_next`.

    Raises:
        UnsupportedError: For a dataset that the algorithm was not built for.
    """
    algo.check(dataset)
    if with_next:
        return _measured(algo, dataset, measure, lambda _, table: np.flatnonzero(table.has_next))
    return _measured(algo, dataset, measure, lambda part, _: np.arange(len(part)))


def tokens_of_agent(
    algo: TextModel, dataset: MDPDataset, measure: Callable[[TrajectoryBatch], Tensor]
) -> Array:
    """Measures every token of the agent in dialogues, float64 [n tokens].

    Args:
        algo: With networks.
        dataset: Of dialogues.
        measure: Returns one number a row of each dialogue, [B, K].

    Raises:
        UnsupportedError: For a dataset that the algorithm was not built for.
    """
    algo.check(dataset)
    with undisturbed(algo):
        parts = [
            measure(batch)[batch.is_action & batch.valid].double().cpu().numpy()
            for batch in algo.episode_batches(dataset)
        ]
    return np.concatenate(parts)


def final_values(algo: Algo, dataset: MDPDataset) -> Array:
    """Returns the values float64 [E] of the observations after episodes' last rows; meaningless if not known."""

    def value(batch: Batch) -> Tensor:
        return algo.impl.predict_value(batch.next_observations, None)

    return _measured(algo, dataset, value, lambda part, _: part.episode_ends - 1)


def _measured(
    algo: Algo,
    dataset: MDPDataset,
    measure: Callable[[Batch], Tensor],
    rows_of: Callable[[MDPDataset, TransitionTable], Array],
) -> Array:
    """Returns what a measure finds, float64, in the rows that a function names in each group of episodes."""
    measured = [np.empty(0)]
    with undisturbed(algo):
        for part in episode_groups(dataset):
            table = transition_table(algo, part)
            for index in row_parts(rows_of(part, table), ROWS_AT_ONCE):
                if len(index):
                    batch = table.gather(torch.from_numpy(index).to(table.device))
                    measured.append(measure(batch).double().cpu().numpy())
    return np.concatenate(measured)


def transition_table(algo: Algo, dataset: MDPDataset) -> TransitionTable:
    """Returns the transitions of a dataset as an algorithm learns from them."""
    return TransitionTable(
        dataset,
        gamma=algo.gamma,
        n_step=algo.n_step,
        device=algo.impl.device,
        scaling=algo.scaling,
        **sight_of(algo)._asdict(),
    )


def episode_groups(dataset: MDPDataset) -> Iterator[MDPDataset]:
    """Yields the dataset in groups of neighbouring whole episodes, each of a bounded size."""
    columns = [*leaves(dataset.observations), dataset.actions]
    row_bytes = 16 + sum(column[:1].nbytes for column in columns)
    n_rows = max(BYTES_AT_ONCE // row_bytes, 1)
    first = 0
    while first < dataset.n_episodes:
        reach = dataset.episode_starts[first] + n_rows
        last = max(int(np.searchsorted(dataset.episode_ends, reach, side="right")), first + 1)
        yield dataset[first:last]
        first = last

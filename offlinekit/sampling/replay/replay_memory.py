"""Replay memory: rows that enter one by one, drawn uniformly from the moment they are complete."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.packing import action_digits
from offlinekit.sampling.replay.episode_rows import CompleteRow, EpisodeRows
from offlinekit.sampling.sampler import TransitionSampler, fits
from offlinekit.sampling.scalers import Scaling
from offlinekit.sampling.transition_table import Located
from offlinekit.types import Array, ArrayTree, leaves, map_tree

MADE = ("next_actions", "returns", "masks", "imagined", "next_known", "weights")
"""Columns that new rows have without anybody giving them; every member of an ensemble learns from a new row, and each
has loss weight 1."""


class ReplayMemory:
    """Rows of a dataset and new ones in one table on the device, a minibatch of which is one gather.

    A row lies above the observation that follows it. While one environment acts, that is the next row, so an
    observation is stored once; else rows lie in pairs, and no row takes more than two places. The table has
    2 (capacity + 2) places for new rows, of which the newest row overwrites the oldest once they are used up.
    Minibatches are drawn one at a time, so the newest row may be in the next.

    Args:
        dataset: Whose rows are drawn too; without `keep`, one whose columns new rows have.
        capacity: The most new rows that are kept.
        keep: Whether the rows of the dataset are drawn.
        batch_size: B.
        gamma: As for `TransitionSampler`.
        n_step: As for `TransitionSampler`.
        device: As for `TransitionSampler`.
        seed: As for `TransitionSampler`.
        scaling: As for `TransitionSampler`.
        settings: Further ones of `TransitionSampler`.

    Attributes:
        n_usable: How many rows can be drawn.

    Raises:
        UnsupportedError: If rows have images, histories, or columns that only a dataset can have.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        capacity: int,
        keep: bool,
        batch_size: int,
        gamma: float,
        n_step: int,
        device: torch.device,
        seed: int,
        scaling: Scaling,
        **settings: Any,
    ) -> None:
        recorded = TransitionSampler(
            dataset,
            batch_size=batch_size,
            gamma=gamma,
            n_step=n_step,
            device=device,
            seed=seed,
            scaling=scaling,
            n_spare=2 * (capacity + 2),
            **settings,
        )
        self.columns, self.batch_size, self.capacity = recorded.columns, batch_size, capacity
        self._scaling, self._discrete = scaling, dataset.actions.ndim == 1
        self._space = dataset.action_space
        apart = self.columns.by_row or self.columns.history > 1
        _check_columns(self.columns.find, apart, settings.get("owner", ""))
        self._n_masks = 0 if dataset.masks is None else dataset.masks.shape[1]
        packed = self.columns.packed
        kept = packed.places.index_select(0, recorded.usable_rows())[: None if keep else 0]
        self._places = torch.empty(len(kept) + capacity, dtype=packed.places.dtype, device=device)
        self._places[: len(kept)] = kept
        self.n_kept, self.n_added, self.n_usable = len(kept), 0, len(kept)
        self._generator = torch.Generator(device=device).manual_seed(seed)
        self._spare = packed.table[packed.first_spare :]
        # The memory of the CPU is written by numpy, at a fifth of the cost of a kernel a row.
        self._written: Array | None = self._spare.numpy() if device.type == "cpu" else None
        self._places_written = self._places.numpy() if device.type == "cpu" else self._places
        self._chains, self._free = n_step == 1, 0
        self._newest: EpisodeRows | None = None  # Whose row was written last.
        needs = ("next_actions" in self.columns.find, "returns" in self.columns.find)
        self._episodes: dict[int, EpisodeRows] = {}
        self._new_episode = partial(EpisodeRows, gamma, n_step, *needs)

    def add(
        self,
        lane: int,
        observation: ArrayTree,
        action: Array,
        reward: float,
        after: ArrayTree,
        terminated: bool,
    ) -> None:
        """Adds a step, in the units of the data.

        Args:
            lane: Number of the environment that took it.
            observation: Before the step.
            action: [A], or a whole number.
            reward: Of the step.
            after: The observation after it.
            terminated: Whether the MDP ended with it; a time-out is no such end.
        """
        if lane not in self._episodes:
            self._episodes[lane] = self._new_episode()
        episode, scaler = self._episodes[lane], self._scaling.reward
        scaled = np.float32(reward) if scaler is None else scaler.transform(np.float32(reward))
        before = self._flat(observation) if not episode.observations else episode.observations[-1]
        for row in episode.add(before, self._action(action), float(scaled), self._flat(after), terminated):
            self._write(row, episode)

    def finish(self, lane: int) -> None:
        """Ends the episode of an environment, by an end of the MDP or a time-out."""
        if lane in self._episodes:
            episode = self._episodes.pop(lane)
            for row in episode.finish():
                self._write(row, episode)

    def sample(self) -> Batch:
        """Draws the next minibatch."""
        return self.columns.fetch(self._next())

    def gather(self, places: Tensor) -> Batch:
        """Returns the rows at places int64 [B]: kept rows from 0 on, new ones from `n_kept` on."""
        rows = self._places.index_select(0, places)
        return self.columns.fetch(self.columns.locate(rows, None, len(places))[0])

    def places_since(self, n_added: int) -> Tensor:
        """Returns the places of the rows that were added after the first `n_added`, as far as they are there still."""
        since = torch.arange(
            max(n_added, self.n_added - self.capacity), self.n_added, device=self._places.device
        )
        return self.n_kept + since % self.capacity

    def refill(self, batch: Batch) -> bool:
        """Draws the next minibatch into the memory of one that `sample` returned; False if that cannot be done."""
        if not self.columns.refills:
            return False
        self.columns.fetch_into(batch, self._next())
        return True

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, beside the rows."""
        return self._generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""
        if fits(state, len(self._generator.get_state()), torch.uint8):
            self._generator.set_state(state.cpu())

    def _next(self) -> Located:
        drawn = torch.randint(
            self.n_usable, (self.batch_size,), generator=self._generator, device=self._generator.device
        )
        return self.columns.locate(self._places.index_select(0, drawn), None, self.batch_size)[0]

    def _write(self, row: CompleteRow, episode: EpisodeRows) -> None:
        """Writes a row and what follows it into the table, from which it can then be drawn."""
        # The row behind its episode's last one begins where that ended, if no other row was written since.
        place = self._free - 1 if self._chains and self._newest is episode else self._free
        if place + 1 >= len(self._spare):
            place = 0
        written, n_own = self._written, len(row.own)
        numbers = (
            np.empty((2, self._spare.shape[1]), np.float32) if written is None else written[place : place + 2]
        )
        numbers[0, :n_own] = row.own
        numbers[0, n_own], numbers[0, n_own + 1] = row.reward, row.discount
        if self.columns.in_table:
            numbers[0, n_own + 2 :] = self._named(row)
        numbers[1, : len(row.after)] = row.after
        numbers[1, len(row.after) :] = 0.0
        if written is None:
            self._spare[place : place + 2].copy_(torch.from_numpy(numbers))
        self._newest, self._free = episode, place + 2
        packed = self.columns.packed
        place += packed.first_spare
        if packed.steps is not None:
            packed.steps[place] = 1
        self._places_written[self.n_kept + self.n_added % self.capacity] = place
        self.n_added += 1
        self.n_usable = self.n_kept + min(self.n_added, self.capacity)

    def _named(self, row: CompleteRow) -> Array:
        """Returns the packed columns of a row beside the standard ones."""
        made = {
            "masks": np.ones(self._n_masks),
            "returns": (row.to_go,),
            "imagined": (0.0,),
            "next_known": (1.0,),
            "weights": (1.0,),
        }
        return np.concatenate([made[name] for name in self.columns.in_table])

    def _flat(self, observation: ArrayTree) -> Array:
        """Returns the scaled observation as [H] numbers, in the table's order and precision."""
        as_recorded = map_tree(lambda _, leaf: np.asarray(leaf, np.float32), self.columns.shapes, observation)
        parts = [np.ravel(leaf) for leaf in leaves(self._scaling.observations(as_recorded))]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _action(self, action: Array) -> Array:
        """Returns the scaled action as [A] numbers, a discrete one as the digits of its number from 0."""
        if self._discrete:
            return np.asarray(action_digits(np.asarray(action), self._space), np.float32)
        number, scaler = np.asarray(action, np.float32), self._scaling.action
        return np.ravel(number if scaler is None else scaler.transform(number))


def _check_columns(names: Iterable[str], by_row: bool, owner: str) -> None:
    """Checks that new rows can have the columns of a batch.

    Raises:
        UnsupportedError: For images and histories, and for a column that only a dataset can have.
    """
    if by_row or (unknown := [name for name in names if name not in MADE]):
        columns = "images or whole numbers, or histories," if by_row else f"a column {unknown[0]!r}"
        raise UnsupportedError(f"{owner or 'the impl'} needs {columns}, which a replay memory cannot hold")

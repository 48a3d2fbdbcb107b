"""Rows that a model made, in a ring on the device, and minibatches of recorded rows and these."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.interfaces import Sampler
from offlinekit.sampling.batch import Batch, Minibatch, TensorTree
from offlinekit.sampling.replay.mixture import MixedSampler, first_rows, joined
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.windows import rows_around
from offlinekit.types import first_leaf

ROW_BYTES = 4
"""Of each number of a row, a float32."""


class ImaginedRows(ReplayMemory):
    """A memory that rows enter many at a time, from tensors; the newest overwrite the oldest.

    A row and what follows it lie in a pair of places, so that a whole row is one gather. Its state holds the rows.
    """

    def __init__(self, dataset: MDPDataset, **settings: Any) -> None:
        super().__init__(dataset, keep=False, **settings)
        places = torch.arange(self.capacity, dtype=self._places.dtype, device=self._places.device)
        self._places.copy_(self.columns.packed.first_spare + 2 * places)
        self._leaves_out_rows = False

    def add_rows(self, rows: Batch, kept: Tensor) -> None:
        """Adds rows of a batch, scaled.

        Args:
            rows: B of them, with `next_actions` if batches are to have them.
            kept: bool [B], which of them.
        """
        chosen = kept.nonzero().squeeze(1)[-self.capacity :]
        named = {"masks": self._n_masks, "imagined": 1, "next_known": 1}
        ones = rows.rewards.new_ones(len(kept), sum(named[name] for name in self.columns.in_table))
        scalars = torch.stack([rows.rewards, rows.discounts], 1)
        own = torch.cat([_flat(rows.observations), _flat(rows.actions), scalars, ones], 1)
        after = [_flat(rows.next_observations)]
        after += [_flat(rows.next_actions)] if "next_actions" in self.columns.find else []
        places = 2 * ((self.n_added + torch.arange(len(chosen), device=chosen.device)) % self.capacity)
        self._spare[places] = own[chosen]
        followed = torch.cat(after, 1)
        self._spare[places + 1, : followed.shape[1]] = followed[chosen]
        self.n_added += len(chosen)
        self.n_usable = min(self.n_added, self.capacity)

    def clear(self) -> None:
        """Forgets all rows."""
        self.n_added = self.n_usable = 0

    def draw_rows(self, n_rows: int, n: int) -> Tensor:
        """Draws n numbers below `n_rows`, int64 [n], by the memory's own generator."""
        return torch.randint(n_rows, (n,), generator=self._generator, device=self._generator.device)

    @contextmanager
    def without_rows(self) -> Iterator[None]:
        """Makes states that leave the rows out, for files that nothing goes on from."""
        self._leaves_out_rows = True
        try:
            yield
        finally:
            self._leaves_out_rows = False

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, as bytes: the generator, the count of rows, the rows."""
        n = 0 if self._leaves_out_rows else self.n_usable
        count = torch.tensor([self.n_added if n else 0], device="cpu").view(torch.uint8)
        rows = self._spare[: 2 * n].cpu().contiguous().view(torch.uint8).flatten()
        return torch.cat([self._generator.get_state(), count, rows])

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another ring warns and leaves this one empty."""
        self.clear()
        size, width = len(self._generator.get_state()), self._spare.shape[1]
        n_added = (
            int(state[size : size + 8].cpu().clone().view(torch.int64)) if len(state) >= size + 8 else -1
        )
        n_usable = min(n_added, self.capacity)
        if n_added < 0 or len(state) != size + 8 + 2 * n_usable * width * ROW_BYTES:
            warnings.warn(
                "minibatches are drawn anew, not where the run stood, and the model makes their rows anew: those of "
                "before lay on another device, or in a ring of another size (n_rollouts, rollout_length, "
                "retained_rounds)",
                stacklevel=3,
            )
            return
        generator, _, rows = state.cpu().split_with_sizes([size, 8, len(state) - size - 8])
        self._generator.set_state(generator.clone())
        self.n_added, self.n_usable = n_added, n_usable
        self._spare[: 2 * n_usable].copy_(rows.clone().view(torch.float32).view(-1, width))


class ImaginationSampler(MixedSampler):
    """Draws minibatches of which an exact share of rows was recorded, while a model made the others.

    While `is_cloning` is set, all rows are recorded ones.

    Args:
        starts: Of the dataset, where rollouts begin.
        recorded: Of the dataset, what minibatches have of it.
        memory: Of rows that the model made.
        batch_size: B, of both together.
        share: Of recorded rows, in [0, 1].
        dataset: What the model learns from.
    """

    def __init__(
        self,
        starts: TransitionSampler,
        recorded: Sampler,
        memory: ImaginedRows,
        batch_size: int,
        share: float,
        dataset: MDPDataset,
    ) -> None:
        super().__init__(recorded, memory, batch_size, lambda: share)
        self.starts, self.memory, self.dataset = starts, memory, dataset
        self.imagines = round(share * batch_size) < batch_size
        self.is_cloning = False

    def sample(self) -> Minibatch:
        """Draws the next minibatch; of recorded rows alone as many of theirs as fill it."""
        if not self.is_cloning:
            return super().sample()
        first = self.recorded.sample()
        n_parts = -(-self.batch_size // len(first.rewards))
        parts = [first, *(self.recorded.sample() for _ in range(n_parts - 1))]
        return first_rows(joined(parts), self.batch_size)

    def draw_recorded(self, n: int) -> Tensor:
        """Draws numbers of recorded rows, with replacement, int64 [n]."""
        rows = self.starts.usable_rows()
        return rows[self.memory.draw_rows(len(rows), n)]

    def draw_starts(self, n: int) -> Tensor:
        """Draws the scaled observations [n, D] of recorded rows, with replacement."""
        return first_leaf(self.starts.gather(self.draw_recorded(n)).observations)

    def draw_histories(self, n: int, n_before: int) -> tuple[Batch, Tensor]:
        """Draws recorded rows, each behind those before it in its episode.

        Args:
            n: Rows.
            n_before: Rows before each; where an episode begins later, its first row stands again.

        Returns:
            Rows [n_before + 1, n, ...], the drawn ones last, and how many of each lie in the episode before it,
            int64 [n].
        """
        rows = self.draw_recorded(n)
        ends = torch.from_numpy(self.dataset.episode_ends).to(rows.device)
        steps = torch.arange(-n_before, 1, device=rows.device)
        places = rows_around(rows, ends, steps)
        return self.starts.gather(places.T.contiguous()), rows - places[:, 0]


def _flat(values: TensorTree) -> Tensor:
    """Returns [B, size] of a leaf, discrete actions as numbers."""
    leaf: Tensor = first_leaf(values)
    return leaf.reshape(len(leaf), -1).float()

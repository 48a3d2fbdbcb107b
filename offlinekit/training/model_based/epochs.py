"""Minibatches in which each member of an ensemble goes through rows of its own, epoch by epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from offlinekit.sampling.batch import Batch
from offlinekit.sampling.sampler import TransitionSampler, fits
from offlinekit.sampling.windows import rows_around


class Windows:
    """Follows each row by those after it in its episode, m in all; behind the end of one its last row stands again.

    Args:
        ends: Of the episodes, int64 [E].
        length: m.
    """

    def __init__(self, ends: Tensor, length: int) -> None:
        self.ends, self.steps = ends, torch.arange(length, device=ends.device)

    def rows(self, first: Tensor) -> Tensor:
        """Returns the rows of the windows that begin at the given ones, int64 [n], one after another: [n * m]."""
        return rows_around(first, self.ends, self.steps).flatten()


class EpochSampler:
    """Draws minibatches of K * B rows: B of member 0, then B of member 1, and so on.

    In each epoch a member comes across all of its rows in a new random order. The last minibatch of an epoch is filled
    up by the first rows of that order.

    Args:
        source: Of the rows.
        drawn: Rows of each member, int64 [K, n], such as a bootstrap; one may occur several times.
        held_out: Rows that no member learns from, int64 [H].
        train_rows: The others, int64 [T].
        batch_size: B.
        seed: Of its own generator.
        windows: What stands for each row in a minibatch; None for the row alone.

    Attributes:
        updates_per_epoch: Minibatches of an epoch.
    """

    def __init__(
        self,
        source: TransitionSampler,
        drawn: Tensor,
        held_out: Tensor,
        train_rows: Tensor,
        batch_size: int,
        seed: int,
        windows: Windows | None = None,
    ) -> None:
        self.source, self.windows, device = source, windows, source.device
        self.drawn, self.held_out, self.train_rows = (
            part.to(device) for part in (drawn, held_out, train_rows)
        )
        self.updates_per_epoch = -(-drawn.shape[1] // batch_size)
        self._within = torch.arange(batch_size, device=device)
        self._order_generator = torch.Generator(device=device).manual_seed(seed)
        self._state, self._order, self._taken = self._order_generator.get_state(), drawn[:, :0], 0

    def gather(self, rows: Tensor) -> Batch:
        """Returns what batches hold of the given rows, int64 [n], or of their windows."""
        return self.source.gather(rows if self.windows is None else self.windows.rows(rows))

    def sample(self) -> Batch:
        """Draws the next minibatch."""
        if not self._order.numel() or self._taken == self.updates_per_epoch:
            self._begin_epoch()
        places = (self._taken * len(self._within) + self._within) % self.drawn.shape[1]
        self._taken += 1
        return self.gather(self._order[:, places].flatten())

    def _begin_epoch(self) -> None:
        self._state, self._taken = self._order_generator.get_state(), 0
        k, n = self.drawn.shape
        orders = [
            torch.randperm(n, generator=self._order_generator, device=self.drawn.device) for _ in range(k)
        ]
        self._order = self.drawn.gather(1, torch.stack(orders))

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from, as bytes: the generator before the epoch, and its count."""
        return torch.cat([self._state, torch.tensor([self._taken], device="cpu").view(torch.uint8)])

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned; one of another kind warns and changes nothing."""
        size = len(self._state)
        if not fits(state, size + 8, torch.uint8):
            return
        before, taken = state.cpu().split_with_sizes([size, 8])
        self._order_generator.set_state(before.clone())
        self._state, self._order, self._taken = before.clone(), self.drawn[:, :0], 0
        if n_taken := int(taken.clone().view(torch.int64)):
            self._begin_epoch()
            self._taken = min(n_taken, self.updates_per_epoch)  # Another batch size has another count.

"""Minibatches of datasets larger than memory: pools of random blocks, the next one read ahead by threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.block_reader import BlockReader, is_mapped, row_bytes
from offlinekit.sampling.loss_weights import scaled_weights, weights_of
from offlinekit.sampling.n_step import drawable_rows
from offlinekit.sampling.named_columns import own_columns
from offlinekit.sampling.priorities import PrioritySampler
from offlinekit.sampling.replay.replay_memory import ReplayMemory
from offlinekit.sampling.sampler import TransitionSampler, fits
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import Array

BLOCK_BYTES = 1 << 19
POOL_BYTES = 1 << 27
N_READERS = 4


class BlockSampler:
    """Draws minibatches from a dataset that is mapped from a file and may be larger than memory.

    The rows lie in blocks. An epoch deals all blocks in random order into pools; minibatches are drawn
    uniformly with replacement from one pool in memory, as many as it has rows for, while threads read the
    next one. So a minibatch mixes the rows of a pool, an epoch those of the dataset. Two pools are in memory
    at a time. What is drawn follows from the seed alone, never from how fast the threads are.

    Args:
        dataset: What to learn from.
        batch_size: B.
        gamma: Discount factor of one step.
        n_step: Steps joined into one transition.
        device: Where the pools and batches live.
        seed: Of the order of blocks and of what is drawn from them.
        scaling: Applied to each pool.
        needs: As for `TransitionSampler`.
        frame_stack: As for `TransitionSampler`.
        frame_pad: As for `TransitionSampler`.
        history: As for `TransitionSampler`.
        image_shift: As for `TransitionSampler`.
        columns: As for `TransitionSampler`.
        owner: As for `TransitionSampler`.
        block_bytes: Size of a block, read in one piece.
        pool_bytes: Size of the blocks of a pool together.
        n_readers: Threads that read.

    Raises:
        DatasetError: As for `TransitionSampler`, at the first pool that it holds for.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        batch_size: int,
        gamma: float,
        n_step: int,
        device: torch.device,
        seed: int,
        scaling: Scaling,
        needs: Sequence[str] = ("next_observations",),
        frame_stack: int = 1,
        frame_pad: str = "zero",
        history: int = 1,
        image_shift: int = 0,
        columns: Mapping[str, Array] | None = None,
        owner: str = "",
        block_bytes: int = BLOCK_BYTES,
        pool_bytes: int = POOL_BYTES,
        n_readers: int = N_READERS,
    ) -> None:
        self.batch_size, self.device, self.seed = batch_size, device, seed
        weights = weights_of(dataset)
        if weights is not None:
            scaled = scaled_weights(dataset, (weights > 0) & drawable_rows(dataset, n_step, needs))
            needs, columns = (*needs, "weights"), {**(columns or {}), "weights": scaled}
        self.settings: dict[str, Any] = {
            "batch_size": batch_size,
            "gamma": gamma,
            "n_step": n_step,
            "device": device,
            "scaling": scaling,
            "needs": needs,
            "owner": owner,
            "frame_stack": frame_stack,
            "frame_pad": frame_pad,
            "history": history,
            "image_shift": image_shift,
        }
        names = [name for name in needs if name not in Batch._fields]
        self.reader = BlockReader(
            dataset,
            columns=own_columns(dataset, names, columns or {}, owner),
            returns="returns" in names,
            gamma=gamma,
            scaling=scaling,
            before=max(frame_stack, history) - 1,
            after=n_step,
            block_bytes=block_bytes,
            n_threads=n_readers,
        )
        in_pool = max(pool_bytes // self.reader.block_bytes, 1)
        self.n_pools = -(-self.reader.n_blocks // in_pool)
        self.builder = ThreadPoolExecutor(1, "offlinekit-pool")
        self.ahead: tuple[int, Future[TransitionSampler]] | None = None
        self.pool: TransitionSampler | None = None
        self.number, self.taken = 0, 0

    def sample(self) -> Batch:
        """Draws the next minibatch; waits if the next pool is not read yet.

        Raises:
            UnsupportedError: While a CUDA graph is captured, whose replays would stay with one pool.
        """
        if self.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            raise UnsupportedError(
                "minibatches that are read from a file in blocks cannot be drawn inside a CUDA graph; "
                "draw them outside of it, or load the dataset into memory"
            )
        if self.pool is None:
            self.pool = self._pool(self.number)
        elif self.taken == self._size(self.pool):
            self.number, self.taken = self.number + 1, 0
            self.pool = self._pool(self.number)
        self.taken += 1
        return self.pool.sample()

    def state(self) -> Tensor:
        """Returns what the next minibatches follow from: seed, number of the pool, how many it has given."""
        return torch.tensor([self.seed, self.number, self.taken], device="cpu")

    def set_state(self, state: Tensor) -> None:
        """Resumes from a state that `state` returned, after reading its pool again; one of another kind warns
        and changes nothing.
        """
        if not fits(state, 3, torch.int64):
            return
        self.seed, self.number, taken = state.tolist()
        self.ahead = None
        self.pool = self._pool(self.number)
        self.taken = min(taken, self._size(self.pool))
        self.pool.skip(self.taken)

    def _size(self, pool: TransitionSampler) -> int:
        return max(round(pool.n_usable / self.batch_size), 1)

    def _pool(self, number: int) -> TransitionSampler:
        """Returns a pool and has the one after it read."""
        ready = self.ahead[1] if self.ahead and self.ahead[0] == number else self._submit(number)
        pool = ready.result()
        self.ahead = number + 1, self._submit(number + 1)
        return pool

    def _submit(self, number: int) -> Future[TransitionSampler]:
        return self.builder.submit(self._read, number, self.seed)

    def _read(self, number: int, seed: int) -> TransitionSampler:
        pool = self.reader.read(self.blocks_in(number, seed))
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        return TransitionSampler(
            pool.dataset, seed=own, rows=pool.rows, columns=pool.columns, **self.settings
        )

    def blocks_in(self, number: int, seed: int) -> Array:
        """Returns the numbers of the blocks in a pool, which is one of those that its epoch deals."""
        epoch, part = divmod(number, self.n_pools)
        order = np.random.default_rng([seed, epoch]).permutation(self.reader.n_blocks)
        return np.array_split(order, self.n_pools)[part]


def sampler_for(dataset: MDPDataset, **settings: Any) -> TransitionSampler | BlockSampler | ReplayMemory:
    """Returns the sampler for a dataset: by blocks if it is mapped and larger than a pool, else in memory.

    With a `capacity` it is a replay memory, which takes new rows.

    Args:
        dataset: What to learn from.
        settings: Of `TransitionSampler`, or of `ReplayMemory`; its subclass as `memory`.

    Raises:
        UnsupportedError: For `sampling_weights`, `following` or `priorities` with a dataset to be drawn by blocks.
    """
    if "capacity" in settings:
        memory: type[ReplayMemory] = settings.pop("memory", ReplayMemory)
        return memory(dataset, **settings)
    if is_mapped(dataset) and len(dataset) * row_bytes(dataset) > POOL_BYTES:
        for name in ("sampling_weights", "following", "priorities"):
            if settings.pop(name, None) is not None:
                raise UnsupportedError(
                    f"{name}= needs the dataset in memory, this one is mapped and drawn by blocks; use MDPDataset.load"
                )
        return BlockSampler(dataset, **settings)
    by_losses = settings.get("priorities") is not None
    return (PrioritySampler if by_losses else TransitionSampler)(dataset, **settings)

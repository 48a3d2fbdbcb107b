"""Blocks of neighbouring rows of a dataset in a file, read several at once as a small dataset in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from offlinekit.datasets import schema
from offlinekit.datasets.formats import mapping
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.sampling.n_step import discounted_sums
from offlinekit.sampling.scalers import Scaling
from offlinekit.types import Array, ArrayTree, leaves, map_tree, rows

LEAST_ROWS = 64
"""Rows of a block at least, so that what is read beside it stays small."""

BLOCKS_AT_ONCE = 128
"""Blocks whose returns are summed at once."""


@dataclass(frozen=True)
class Pool:
    """Some blocks in memory.

    Attributes:
        dataset: Their rows, and as many beside each block as its transitions reach for.
        rows: int64, the rows of the blocks themselves, in which every transition is whole.
        columns: [N, ...] by name, those that follow from more than these rows among them: right for `rows`.
    """

    dataset: MDPDataset
    rows: Array
    columns: dict[str, Array]


class BlockReader:
    """Numbers the blocks of a dataset and reads them.

    Args:
        dataset: N rows, mapped from a file.
        columns: [N, ...] by name, which are read beside observations, actions and rewards.
        returns: Whether returns to go are wanted, which follow from the rewards of other blocks too.
        gamma: Discount factor of one step, for the returns.
        scaling: Whose reward scaler the returns need.
        before: Rows of its episode that a transition needs before its own: frames of a stack.
        after: Rows of its episode that it needs behind: steps of n.
        block_bytes: Size of a block.
        n_threads: Threads that read.

    Attributes:
        block_rows: Rows of a block; the last one may have fewer.
        block_bytes: Size of such a block.
        n_blocks: How many there are.
    """

    def __init__(
        self,
        dataset: MDPDataset,
        *,
        columns: Mapping[str, Array],
        returns: bool,
        gamma: float,
        scaling: Scaling,
        before: int,
        after: int,
        block_bytes: int,
        n_threads: int,
    ) -> None:
        self.dataset, self.gamma, self.scaling = dataset, gamma, scaling
        self.columns = dict(columns)
        self.before, self.after = before, after
        size = row_bytes(dataset) + sum(c.nbytes // len(c) for name, c in columns.items() if name != "masks")
        self.block_rows = max(block_bytes // size, LEAST_ROWS)
        self.block_bytes = self.block_rows * size
        self.n_blocks = -(-len(dataset) // self.block_rows)
        self.returns_at = self._returns_at_blocks() if returns else None
        self.executor = ThreadPoolExecutor(n_threads, "offlinekit-read")

    def read(self, blocks: Array) -> Pool:
        """Reads blocks.

        Args:
            blocks: int64 numbers below `n_blocks`.
        """
        start = np.sort(blocks) * self.block_rows
        stop = np.minimum(start + self.block_rows, len(self.dataset))
        low, high = self._reach(start, stop)
        length, offset = high - low, np.cumsum(high - low) - (high - low)
        index = np.arange(int(length.sum())) + np.repeat(low - offset, length)
        part, columns = self._copied(low, high)
        self._cut_episodes(part, index, offset + length)
        inside = (index >= np.repeat(start, length)) & (index < np.repeat(stop, length))
        columns.setdefault("rows", index)
        if self.returns_at is not None:
            goes_on = stop < high
            known = self.returns_at[stop[goes_on] // self.block_rows]
            columns["returns"] = self._returns(part, (offset + stop - low)[goes_on], known)
        return Pool(part, np.flatnonzero(inside), columns)

    def _reach(self, start: Array, stop: Array) -> tuple[Array, Array]:
        """Returns from where to where rows are needed for the transitions of blocks."""
        starts, ends = self.dataset.episode_starts, self.dataset.episode_ends
        first, last = (np.searchsorted(ends, row, side="right") for row in (start, stop - 1))
        low, high = np.maximum(start - self.before, starts[first]), np.minimum(stop + self.after, ends[last])
        return np.minimum(low, start), np.maximum(high, stop)

    def _copied(self, low: Array, high: Array) -> tuple[MDPDataset, dict[str, Array]]:
        """Returns a dataset of the rows of several ranges, and their columns, which threads read."""
        names = [name for name in schema.names(in_batch=True) if getattr(self.dataset, name) is not None]
        size, target = int((high - low).sum()), np.cumsum(high - low)
        sources: dict[str, ArrayTree] = {
            **{name: getattr(self.dataset, name) for name in names},
            "columns": {**self.columns},
        }
        copies = map_tree(lambda leaf: np.empty((size, *leaf.shape[1:]), leaf.dtype), sources)
        pairs: list[tuple[Array, Array]] = list(zip(leaves(sources), leaves(copies), strict=True))

        def read(i: int) -> None:
            for source, copied in pairs:
                copied[target[i] - (high[i] - low[i]) : target[i]] = source[low[i] : high[i]]

        list(self.executor.map(read, range(len(low))))
        part, columns = copy.copy(self.dataset), copies.pop("columns")
        vars(part).update(
            copies, masks=None, behavior_log_probs=None, extras={}
        )  # Those of a batch are columns.
        return part, columns

    def _cut_episodes(self, part: MDPDataset, index: Array, stops: Array) -> None:
        """Ends an episode wherever a range ends; what follows such an end counts as unknown, if no row says it."""
        whole = part.terminals | part.timeouts
        last = whole.copy()
        last[stops - 1] = True
        part.timeouts = last & ~part.terminals
        part.episode_ends = np.flatnonzero(last) + 1
        part.episode_starts = np.concatenate([np.zeros(1, np.int64), part.episode_ends[:-1]])
        episode = np.searchsorted(self.dataset.episode_ends, index[part.episode_ends - 1], side="right")
        ends_whole, recorded = whole[part.episode_ends - 1], self.dataset.final_known[episode]
        if self.dataset.next_observations is not None:  # A row inside an episode brings its own along.
            part.final_known = recorded | ~ends_whole
            part.final_observations = rows(part.next_observations, part.episode_ends - 1)
            return
        known = recorded & ends_whole
        part.final_known = known

        def final(leaf: Array) -> Array:
            finals = np.zeros((len(known), *leaf.shape[1:]), leaf.dtype)
            finals[known] = leaf[episode[known]]
            return finals

        part.final_observations = map_tree(final, self.dataset.final_observations)

    def _returns(self, part: MDPDataset, rows: Array, known: Array) -> Array:
        """Returns the returns to go, those of some rows being known."""
        rewards, last = self._scaled(part.rewards), part.terminals | part.timeouts
        rewards[rows], last[rows] = known, True
        return discounted_sums(rewards, last, self.gamma)

    def _returns_at_blocks(self) -> Array:
        """Returns the return to go from each block's first row, in one pass over the rewards."""
        returns, after = np.zeros(self.n_blocks), 0.0
        for i in reversed(range(0, self.n_blocks, BLOCKS_AT_ONCE)):
            part = slice(i * self.block_rows, (i + BLOCKS_AT_ONCE) * self.block_rows)
            last = self.dataset.terminals[part] | self.dataset.timeouts[part]
            sums = discounted_sums(self._scaled(self.dataset.rewards[part]), last, self.gamma, after)
            returns[i : i + BLOCKS_AT_ONCE] = sums[:: self.block_rows]
            after = float(sums[0])
        return returns

    def _scaled(self, rewards: Array) -> Array:
        scaler = self.scaling.reward
        return (rewards if scaler is None else scaler.transform(rewards)).astype(np.float64)


def row_bytes(dataset: MDPDataset) -> int:
    """Returns the bytes of a row in the columns that may be mapped."""
    columns = (dataset.observations, dataset.next_observations, dataset.actions, dataset.masks)
    return sum(
        leaf.nbytes // len(leaf) for column in columns if column is not None for leaf in leaves(column)
    )


def is_mapped(dataset: MDPDataset) -> bool:
    """Returns whether a leaf of the observations lies in a file that is mapped into memory."""
    return any(mapping.is_mapped(leaf) for leaf in leaves(dataset.observations))

"""All float columns of a dataset in one table on the device: a minibatch is one gather."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from offlinekit.ground.action_spaces import numbers_from_0
from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.sampling.scalers import Affine

ROWS_AT_ONCE = 1 << 16
"""Rows scaled at once while the table is filled, which bounds what is in memory beside it."""
DIGIT_BITS = 24
"""Whole numbers below 2 ** 24 are exact in float32."""


@dataclass(frozen=True)
class Column:
    """N rows, and E rows for what follows each episode's last one.

    Attributes:
        rows: [N, ...] numbers.
        final: [E, ...] numbers, or None for zeros.
        scaler: What `transform`s both to float32, or None.
    """

    rows: Array
    final: Any = None
    scaler: Affine | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row."""
        return self.rows.shape[1:]

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return math.prod(self.shape)


class PackedRows:
    """A table [N + E, W] of float32, a row each, and below an episode's last row the one that follows it.

    The row below is always the next one, so a window of the table, a row and the first columns of the row
    below, holds a whole one-step transition, and no observation is stored twice. With a history of K rows the first row
    of an episode stands K times, so that a window of K rows more holds the transition and what came before it.

    Args:
        head: Columns that are wanted of the next row too: observations, and actions if an algorithm needs those.
        tail: Columns of the row alone.
        ends: int64 [E], where episodes end, exclusive.
        steps: int64 [N], rows from each row to its next one, or None if that is always the row below.
        device: Where the table lives.
        n_spare: Rows of the table below all these that are left as they are, for what comes later.
        n_windows: How many of the first columns are gathered with their history, [B, K, size].
        history: K; 1 for columns without an axis of time.

    Attributes:
        places: Integers [N], where in the table each row lies, less the K - 1 rows of its history.
        first_spare: Where the rows begin that are left.
    """

    def __init__(
        self,
        head: Sequence[Column],
        tail: Sequence[Column],
        ends: Array,
        steps: Array | None,
        device: torch.device,
        n_spare: int = 0,
        n_windows: int = 0,
        history: int = 1,
    ) -> None:
        lengths, self.before, self.n_windows = np.diff(ends, prepend=0), history - 1, n_windows
        apart = history * np.arange(
            len(ends)
        )  # A final row an episode, and what precedes the next first one.
        place = np.arange(ends[-1]) + np.repeat(apart, lengths)
        columns = [*head, *tail]
        self.sizes = [column.size for column in columns]
        self.head_sizes = [column.size for column in head]
        self.window_sizes, self.n_columns = self.sizes + self.head_sizes, len(columns)
        width, n_head = sum(self.sizes), sum(self.head_sizes)
        self.first_spare = len(place) + history * len(ends)
        table = np.empty(
            (self.first_spare + n_spare, width), np.float32
        )  # Memory is used once it is written.
        _fill(table, columns, place + self.before, ends + apart + self.before)
        for back in range(self.before):
            first = (ends - lengths) + apart
            table[first + back] = table[first + self.before]
        self.table = torch.from_numpy(table).to(device)
        narrow = np.int32 if len(table) < 2**31 else np.int64
        self.places = torch.from_numpy(place.astype(narrow)).to(device)
        n_starts, past = len(table) - self.before, self.before * width
        self.window = self.table.as_strided((n_starts - 1, past + width + n_head), (width, 1))
        self.rows = self.table.as_strided((n_starts, past + width), (width, 1))
        self.heads = self.table.as_strided((n_starts, past + n_head), (width, 1))
        self.steps: Tensor | None = None
        if steps is not None:
            spread = np.zeros(len(table), np.int64)
            spread[place] = steps
            self.steps = torch.from_numpy(spread).to(device)

    def column(self, index: int) -> Tensor:
        """Returns a column as a view of the table, [size] at the places of rows, for reading and writing."""
        return self.table[self.before :].narrow(1, sum(self.sizes[:index]), self.sizes[index])

    def gather(self, places: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Returns the columns of rows, and the head columns of their next ones, views of [B, size] or [B, K, size].

        Args:
            places: [B], as `self.places` has them.
        """
        if self.steps is None:
            return self.split(self.window.index_select(0, places))
        then = places + self.steps.index_select(0, places)
        now, after = self.rows.index_select(0, places), self.heads.index_select(0, then)
        return self._parts(now, self.sizes, 0), self._parts(after, self.head_sizes, 0)

    def split(self, gathered: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Returns what `gather` does of rows of `self.window`."""
        if not self.before:
            parts = gathered.split_with_sizes(self.window_sizes, 1)
            return parts[: self.n_columns], parts[self.n_columns :]
        return self._parts(gathered, self.sizes, 0), self._parts(gathered, self.head_sizes, 1)

    def _parts(self, gathered: Tensor, sizes: Sequence[int], after: int) -> Sequence[Tensor]:
        """Returns the columns of the newest of K rows that lie side by side, the first ones with their history.

        Args:
            gathered: [B, K * W or more].
            sizes: Of the columns.
            after: Rows that precede the first.
        """
        if not self.before:
            return gathered.split_with_sizes(sizes, 1)
        (n, stride), width, start = gathered.shape, self.table.shape[1], after * self.table.shape[1]
        parts = []
        for i, size in enumerate(sizes):
            if i < self.n_windows:
                parts.append(gathered.as_strided((n, self.before + 1, size), (stride, width, 1), start))
            else:
                parts.append(gathered.narrow(1, start + self.before * width, size))
            start += size
        return parts


def _fill(table: Array, columns: Sequence[Column], place: Array, final_place: Array) -> None:
    table[final_place] = 0.0
    start = 0
    for column in columns:
        part = table[:, start : start + column.size]
        start += column.size
        _put(part, place, column.rows, column.scaler)
        if column.final is not None:
            _put(part, final_place, column.final, column.scaler)


def _put(part: Array, place: Array, values: Array, scaler: Affine | None) -> None:
    for i in range(0, len(values), ROWS_AT_ONCE):
        block = values[i : i + ROWS_AT_ONCE]
        scaled = block if scaler is None else scaler.transform(block)
        part[place[i : i + ROWS_AT_ONCE]] = scaled.reshape(len(block), -1)


# Discrete actions, whose numbers go beyond what a float32 counts to.


def action_digits(actions: Array, space: spaces.Space[Any]) -> Array:
    """Returns actions as a table holds them: continuous ones as they are, else [..., D] digits of numbers from 0.

    Args:
        actions: Of a dataset, [..., A] or discrete [...].
        space: Its action space, whose size gives D, so that each part of a dataset has as many columns.
    """
    if not isinstance(space, spaces.Discrete):
        return actions
    shifts = range(0, max((int(space.n) - 1).bit_length(), 1), DIGIT_BITS)
    numbers = numbers_from_0(actions, space)
    if len(shifts) == 1:
        return np.asarray(numbers)[..., None]
    return np.stack([(numbers >> shift) & ((1 << DIGIT_BITS) - 1) for shift in shifts], -1)


def from_digits(digits: Tensor) -> Tensor:
    """Returns the numbers [...], int64, of their digits [..., D]."""
    if digits.shape[-1] == 1:
        return digits.squeeze(-1).long()
    numbers = digits[..., 0].long()
    for place in range(1, digits.shape[-1]):
        numbers = numbers + (digits[..., place].long() << (DIGIT_BITS * place))
    return numbers

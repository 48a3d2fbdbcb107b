"""All float columns of a dataset in one table on the device: a minibatch is one gather."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.sampling.scalers import Affine

ROWS_AT_ONCE = 1 << 16
"""Rows scaled at once while the table is filled, which bounds what is in memory beside it."""


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
    below, holds a whole one-step transition, and no observation is stored twice.

    Args:
        head: Columns that are wanted of the next row too: observations, and actions if an algorithm needs those.
        tail: Columns of the row alone.
        ends: int64 [E], where episodes end, exclusive.
        steps: int64 [N], rows from each row to its next one, or None if that is always the row below.
        device: Where the table lives.
        n_spare: Rows of the table below all these that are left as they are, for what comes later.

    Attributes:
        places: Integers [N], where in the table each row lies.
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
    ) -> None:
        lengths = np.diff(ends, prepend=0)
        place = np.arange(ends[-1]) + np.repeat(np.arange(len(ends)), lengths)
        columns = [*head, *tail]
        self.sizes = [column.size for column in columns]
        self.head_sizes = [column.size for column in head]
        self.window_sizes, self.n_columns = self.sizes + self.head_sizes, len(columns)
        width, n_head = sum(self.sizes), sum(self.head_sizes)
        self.first_spare = len(place) + len(ends)
        table = np.empty(
            (self.first_spare + n_spare, width), np.float32
        )  # Memory is used once it is written.
        _fill(table, columns, place, ends + np.arange(len(ends)))
        self.table = torch.from_numpy(table).to(device)
        narrow = np.int32 if len(table) < 2**31 else np.int64
        self.places = torch.from_numpy(place.astype(narrow)).to(device)
        self.window = self.table.as_strided((len(table) - 1, width + n_head), (width, 1))
        self.heads = self.table.narrow(1, 0, n_head)
        self.steps: Tensor | None = None
        if steps is not None:
            spread = np.zeros(len(table), np.int64)
            spread[place] = steps
            self.steps = torch.from_numpy(spread).to(device)

    def column(self, index: int) -> Tensor:
        """Returns a column as a view [N + E, size] of the table, for reading and writing."""
        return self.table.narrow(1, sum(self.sizes[:index]), self.sizes[index])

    def gather(self, places: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Returns the columns of rows, and the head columns of their next ones, views of [B, size].

        Args:
            places: [B], as `self.places` has them.
        """
        if self.steps is None:
            parts = self.window.index_select(0, places).split_with_sizes(self.window_sizes, 1)
            return parts[: self.n_columns], parts[self.n_columns :]
        then = places + self.steps.index_select(0, places)
        now = self.table.index_select(0, places).split_with_sizes(self.sizes, 1)
        return now, self.heads.index_select(0, then).split_with_sizes(self.head_sizes, 1)


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

"""Observations of a table some of whose categories networks embed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from gymnasium import spaces


class CategorySpace(spaces.Box):
    """Vectors of float32 in which blocks of columns are one-hot categories, each to be embedded by a table of its own.

    Args:
        size: Numbers of a vector.
        blocks: (first column, classes, numbers of an embedding) of each category, in the order of the columns.

    Raises:
        ValueError: For blocks that overlap or lie outside, and embeddings of no number, or of more than classes.
    """

    def __init__(self, size: int, blocks: Iterable[Sequence[int]]) -> None:
        self.blocks = tuple((int(first), int(n), int(width)) for first, n, width in blocks)
        end = 0
        for first, n, width in self.blocks:
            if first < end or first + n > size or not 1 <= width <= n:
                raise ValueError(
                    f"blocks must be (first column, classes, width) one after another in {size} columns, with widths "
                    f"from 1 to the classes, got {self.blocks}"
                )
            end = first + n
        super().__init__(-np.inf, np.inf, (size,), np.float32)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CategorySpace) and (self.shape, self.blocks) == (other.shape, other.blocks)

    def __repr__(self) -> str:
        embedded = ", ".join(f"{n} classes from column {first} in {width}" for first, n, width in self.blocks)
        return f"{super().__repr__()} with embedded categories ({embedded})"

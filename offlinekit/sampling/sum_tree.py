"""Numbers from which one is drawn in proportion to its size, on the device and without a look at any of them."""

from __future__ import annotations

import torch
from torch import Tensor

FAN = 64
"""Numbers whose sum stands one level above them; a million numbers have four levels."""


class SumTree:
    """Numbers [n], at least 0 and not all 0, below sums of 64 of them, sums of 64 sums and so on.

    Writing some and drawing some takes work for each level, not for each number, in memory that stays in place, so
    that a CUDA graph may hold both.

    Args:
        numbers: The first ones.
    """

    def __init__(self, numbers: Tensor) -> None:
        self.n = len(numbers)
        self.levels = [_padded(numbers.double())]
        while self.levels[-1].shape[0] > 1:
            self.levels.append(_padded(self.levels[-1].sum(1)))

    @property
    def numbers(self) -> Tensor:
        """The numbers, float64 [n]."""
        return self.levels[0].view(-1)[: self.n]

    @property
    def total(self) -> Tensor:
        """Their sum, 0-d."""
        return self.levels[-1].sum()

    def write(self, index: Tensor, numbers: Tensor) -> None:
        """Replaces the numbers at places int64 [B]; of several for one place the largest stays."""
        flat = self.levels[0].view(-1)
        flat.index_fill_(0, index, 0.0)
        flat.scatter_reduce_(0, index, numbers.double(), "amax")
        self._sum_up(index)

    def replace(self, numbers: Tensor) -> None:
        """Replaces all numbers, [n]."""
        self.levels[0].view(-1)[: self.n] = numbers
        for lower, upper in zip(self.levels, self.levels[1:], strict=False):
            upper.view(-1)[: len(lower)] = lower.sum(1)

    def draw(self, uniform: Tensor) -> Tensor:
        """Returns places int64 [B], each with a probability proportional to its number.

        Args:
            uniform: [B] in [0, 1).
        """
        left = uniform.double() * self.total
        block = torch.zeros_like(left, dtype=torch.int64)
        for level in reversed(self.levels):
            sums = level.index_select(0, block).cumsum(1)
            within = (sums <= left[:, None]).sum(1)
            last = (sums < sums[:, -1:]).sum(1)  # Of those above 0, where rounding leads beyond.
            within = torch.minimum(within, last)
            left = left - torch.where(
                within > 0, sums.gather(1, (within - 1).clamp(min=0)[:, None])[:, 0], 0.0
            )
            block = block * FAN + within
        return block

    def _sum_up(self, index: Tensor) -> None:
        """Takes the sums above some places anew."""
        for lower, upper in zip(self.levels, self.levels[1:], strict=False):
            index = index // FAN
            upper.view(-1)[index] = lower.index_select(0, index).sum(1)


def _padded(numbers: Tensor) -> Tensor:
    """Returns numbers [n] as blocks [ceil(n / 64), 64], with zeros behind."""
    blocks = numbers.new_zeros(-(-len(numbers) // FAN), FAN)
    blocks.view(-1)[: len(numbers)] = numbers
    return blocks

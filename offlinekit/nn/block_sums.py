"""Sums over rows whose gradient is taken block by block, while what it needs is still in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

PartialSum = Callable[[slice], Tensor]


def sum_in_blocks(part: PartialSum, n_rows: int, size: int, inputs: Sequence[Tensor]) -> Tensor:
    """Returns the sum of `part` over blocks of rows, with the gradients that `part(all rows)` has.

    On a GPU, in a population and inside torch.compile all rows are one block.

    Args:
        part: Some rows -> the sum [] of what each of them gives, whatever the other rows.
        n_rows: How many there are.
        size: Rows of a block.
        inputs: All tensors that `part` sends gradients to.
    """
    whole = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    if n_rows <= size or whole or inputs[0].device.type != "cpu":
        return part(slice(None))
    blocks = [slice(start, start + size) for start in range(0, n_rows, size)]
    if not torch.is_grad_enabled():
        return torch.stack([part(rows) for rows in blocks]).sum()
    total: Tensor = _SumInBlocks.apply(part, blocks, *inputs)  # type: ignore[no-untyped-call]  # Of torch.
    return total


class _SumInBlocks(torch.autograd.Function):
    """Takes the gradient of each block right after its sum, and scales their total in the backward pass."""

    @staticmethod
    def forward(ctx: Any, part: PartialSum, blocks: Sequence[slice], *inputs: Tensor) -> Tensor:
        total = inputs[0].new_zeros(())
        gradients: list[Tensor] = []
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        for rows in blocks:
            with torch.enable_grad():
                value = part(rows)
                of_block = torch.autograd.grad(value, wanted)
            total += value.detach()
            if gradients:
                torch._foreach_add_(gradients, list(of_block))
            else:
                gradients = list(of_block)
        ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled = iter(torch._foreach_mul(ctx.saved_tensors, gradient))
        return tuple(next(scaled) if need else None for need in ctx.needs_input_grad)

"""Products of matrices rounded to bfloat16, for processors on which torch does not round them by itself."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from offlinekit.ground.processor import processor_name
from offlinekit.nn.dispatch import Dispatch

if TYPE_CHECKING:
    from torch._ops import OpOverload

aten = torch.ops.aten
PRODUCTS: dict[Any, Any] = {
    aten.mm.default: torch.mm,
    aten.addmm.default: torch.mm,
    aten.bmm.default: torch.bmm,
    aten.baddbmm.default: torch.bmm,
}
"""Operators whose last two arguments are multiplied, to the function of bfloat16 that multiplies them."""

WORTH = 1 << 22  # Multiplications of a product from which on they take longer than to round its matrices.


def rounded_products() -> AbstractContextManager[object]:
    """Rounds products of large matrices while torch's precision of these is "medium" and it does nothing by itself.

    Torch leaves "medium" to oneDNN, which rounds where the processor has tiles for matrices (AMX), and else multiplies
    in float32, also on processors that multiply bfloat16 twice as fast.
    """
    if torch.compiler.is_compiling() or torch.get_float32_matmul_precision() != "medium":
        return nullcontext()
    return RoundedProducts() if multiplies_bfloat16() else nullcontext()


@cache
def multiplies_bfloat16() -> bool:
    """Returns whether the processor multiplies bfloat16 faster than float32 without tiles: AMD's do from Zen 4 on.

    Intel's have the instructions (AVX512-BF16) too, at half of float32's rate, and virtual machines may hide their
    tiles. The maker decides, not a measurement, which might come out otherwise when a run goes on.
    """
    cpu: Any = torch.cpu  # Not typed by torch.
    return "AMD" in processor_name() and bool(cpu._is_avx512_bf16_supported())


class RoundedProducts(Dispatch):
    """Multiplies large float32 matrices of the CPU as bfloat16; sums within a product are float32, results rounded.

    Each matrix is rounded once within the block, also if it is used transposed.
    """

    def __init__(self) -> None:
        super().__init__()
        # With the originals, whose memory is the key and must not serve another tensor meanwhile.
        self.rounded: dict[Hashable, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Calls the operator, or multiplies in its place."""
        multiply = PRODUCTS.get(func)
        if multiply is None or kwargs or not _is_worth(*args[-2:]):
            return func(*args, **(kwargs or {}))
        product: Tensor = aten._to_copy(multiply(*map(self._round, args[-2:])), dtype=torch.float32)
        return args[0] + product if len(args) > 2 else product

    def _round(self, matrix: Tensor) -> Tensor:
        where = (matrix.untyped_storage().data_ptr(), matrix.storage_offset(), matrix._version)
        sides = frozenset(zip(matrix.shape[-2:], matrix.stride()[-2:], strict=True))
        key = (where, matrix.shape[:-2], sides)
        if key not in self.rounded:
            self.rounded[key] = matrix, aten._to_copy(matrix, dtype=torch.bfloat16)
        original, rounded = self.rounded[key]
        return rounded if matrix.stride() == original.stride() else rounded.mT


def _is_worth(a: Tensor, b: Tensor) -> bool:
    return (
        a.dtype == b.dtype == torch.float32
        and a.device.type == "cpu"
        and a.shape[-2] * a.shape[-1] * b.shape[-1] >= WORTH
    )

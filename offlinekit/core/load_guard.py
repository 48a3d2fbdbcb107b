"""What a policy file may ask for: networks that are made of its own tensors, and act in a reasonable time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from offlinekit.errors import FileFormatError
from offlinekit.load_budget import Budget
from offlinekit.nn.dispatch import Dispatch

if TYPE_CHECKING:
    from torch._ops import OpOverload

SPARE_BYTES = 1 << 24
"""Bytes that building may take beside those for the file's tensors, for what is drawn and thrown away."""
BYTES_PER_BYTE = 8
"""Bytes that building and one action may take for each of the file's tensors: drawn, scaled, copied for a target."""
SPARE_ACTING = 1 << 28
"""Bytes that one action may take likewise, for what lies between the layers."""
SPARE_CALLS = 50_000
"""Operations of building or of one action: the largest networks here take some thousand."""
CALLS_PER_TENSOR = 40
"""Those beyond that for each tensor of the file."""


class Bounded(Dispatch):
    """Stops what costs more than the tensors of its file account for.

    Args:
        tensors: Of the file.
        path: Of the file, for the message.
        max_bytes: That it may take; None goes by the tensors.
        spare: Bytes beside those for the tensors.
    """

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        path: Path,
        max_bytes: int | None = None,
        spare: int = SPARE_BYTES,
    ) -> None:
        super().__init__()
        self.budget = Budget(max_bytes, spare=spare, factor=BYTES_PER_BYTE)
        self.budget.sizes[str(path)] = sum(tensor.nbytes for tensor in tensors.values())
        self.path, self.calls = path, 0
        self.most_calls = SPARE_CALLS + CALLS_PER_TENSOR * len(tensors) + (max_bytes or 0)

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Runs an operation unless it, or what was made so far, is too large."""
        self.calls += 1
        if self.calls > self.most_calls:
            raise FileFormatError(
                f"{self.path} describes networks that take more than {self.most_calls:,} operations; it is damaged or "
                "was forged, or if you trust where it is from, pass max_bytes="
            )
        description = "the networks that it describes, larger than the tensors it holds,"
        self.budget.check(_reach(args), description)
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not any(result is argument for argument in args):
            self.budget.take(result.nbytes, description)
        return result


def _reach(arguments: Sequence[object]) -> int:
    """Returns the bytes of the largest result that arguments ask for: by a size, of a tensor, by a number of steps."""
    tensors = [argument.nbytes for argument in arguments if isinstance(argument, Tensor)]
    sizes = [4 * math.prod(map(abs, a)) for a in arguments if isinstance(a, (list, tuple)) and _is_size(a)]
    numbers = (
        [] if tensors or sizes else [a for a in arguments if isinstance(a, (int, float)) and math.isfinite(a)]
    )
    steps = [4 * abs(int(number)) for number in numbers]  # Beside a size, a number is what fills it.
    return max([*tensors, *sizes, *steps], default=0)


def _is_size(argument: Sequence[object]) -> bool:
    return all(isinstance(size, int) for size in argument)

"""Limit on the memory that a file may claim: networks larger than its own tensors are not built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from offlinekit.errors import FileFormatError

if TYPE_CHECKING:
    from torch._ops import OpOverload

SLACK = 1 << 24
"""Bytes that building may take beside the file's tensors, for what is drawn and thrown away."""
MOST_CALLS = 200_000
"""Operations of building: the largest networks here take some thousand."""


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own, as below.
    """Stops the building of networks that do not come from the tensors of the same file.

    Args:
        tensors: Of the file.
        path: Of the file, for the message.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # Else torch imports its compiler at the first call, which takes a second.

    def __init__(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest = SLACK + sum(tensor.nbytes for tensor in tensors.values())
        self.path, self.calls = path, 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        """Runs an operation and looks at the size of what it made, which is not filled yet."""
        made = func(*args, **(kwargs or {}))
        self.calls += 1
        size = made.nbytes if isinstance(made, Tensor) else 0
        if size > self.largest or self.calls > MOST_CALLS:
            raise FileFormatError(
                f"{self.path} describes networks that are larger than the tensors it holds "
                f"({size:,} bytes at once, at most {self.largest:,}); it is damaged or was forged"
            )
        return made

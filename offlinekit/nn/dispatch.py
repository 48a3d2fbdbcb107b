"""Base of classes that see each operation of torch as it is called."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Dispatch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # Not typed by torch.
    """A mode under which torch calls `__torch_dispatch__` in place of its operations, without its compiler."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]  # Not typed by torch.

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Not typed by torch.

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # Else torch imports its compiler at the first call, which takes a second.

"""Settings of torch that belong to the whole process, held by runs that overlap in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic

import torch

from offlinekit.types import T


class ProcessSetting(Generic[T]):
    """A setting that several threads hold at once: the first sets it, the last brings back what was before.

    Args:
        read: Returns the setting as it is.
        write: Sets it to what `read` returned.
        value: Its value while any thread holds it.
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], None], value: T) -> None:
        self.read, self.write, self.value = read, write, value
        self.lock, self.holders, self.before = threading.Lock(), 0, value

    @contextmanager
    def held(self) -> Iterator[None]:
        """Applies the setting while the block runs."""
        with self.lock:
            if not self.holders:
                self.before = self.read()
                self.write(self.value)
            self.holders += 1
        try:
            yield
        finally:
            with self.lock:
                self.holders -= 1
                if not self.holders:
                    self.write(self.before)


def _determinism() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


DETERMINISTIC = ProcessSetting(
    _determinism,
    lambda mode: torch.use_deterministic_algorithms(mode[0], warn_only=mode[1]),
    (True, False),
)
BFLOAT16_PRODUCTS = ProcessSetting(
    torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
)

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

    Threads that want it and threads that do not wait for one another.

    Args:
        read: Returns the setting as it is.
        write: Sets it to what `read` returned.
        value: Its value while any thread holds it.
    """

    def __init__(self, read: Callable[[], T], write: Callable[[T], None], value: T) -> None:
        self.read, self.write, self.value = read, write, value
        self.changed, self.wanted, self.before = threading.Condition(), False, value
        self.holders: list[int] = []  # Threads; one may be there twice.

    @contextmanager
    def held(self, wanted: bool = True) -> Iterator[None]:
        """Has the setting while the block runs, or what the process has if it is not wanted."""
        own = threading.get_ident()
        with self.changed:
            self.changed.wait_for(lambda: not self.holders or self.wanted == wanted or own in self.holders)
            if not self.holders:
                self.wanted, self.before = wanted, self.read()
                if wanted:  # To write determinism, torch imports its compiler, which takes a second.
                    self.write(self.value)
            self.holders.append(own)
        try:
            yield
        finally:
            with self.changed:
                self.holders.remove(own)
                if not self.holders:
                    if self.wanted:
                        self.write(self.before)
                    self.changed.notify_all()


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

"""What torch sets for a whole process, and runs of several threads want differently."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from offlinekit.training.setup.settings import Precision


class ProcessSettings:
    """Matrix products and kernels as one run wants them; runs that want others wait until its updates are taken."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: tuple[Precision, bool] | None = None
        self._holders = 0
        self._before: Any = None

    @contextmanager
    def held(self, precision: Precision, deterministic: bool) -> Iterator[None]:
        """Sets what updates run with, and afterwards what was there before.

        Args:
            precision: Of matrix products; "float32" leaves what the process has.
            deterministic: Whether torch refuses kernels whose bits vary.
        """
        wanted = (precision, deterministic)
        with self._changed:
            self._changed.wait_for(lambda: self._held in (None, wanted))
            if self._held is None:
                self._held, self._before = wanted, _set_in_torch(precision, deterministic)
            self._holders += 1
        try:
            yield
        finally:
            with self._changed:
                self._holders -= 1
                if self._holders == 0:
                    _restore_in_torch(*self._before)
                    self._held = None
                    self._changed.notify_all()


def _set_in_torch(precision: Precision, deterministic: bool) -> tuple[str, bool, bool]:
    before = (
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    if precision == "bfloat16":
        torch.set_float32_matmul_precision("medium")
    if deterministic:
        torch.use_deterministic_algorithms(True)
    return before


def _restore_in_torch(precision: str, deterministic: bool, warn_only: bool) -> None:
    torch.set_float32_matmul_precision(precision)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)


PROCESS = ProcessSettings()
"""The one of this process."""

"""Signals that end a run after the update under way, with a checkpoint."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Protocol

from offlinekit.errors import Preempted

PREEMPTIONS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that schedulers send before they take a machine back."""


class Interruptible(Protocol):
    """A run that notes signals."""

    interrupted: bool
    preempted: bool


class Interrupts:
    """Turns the first Ctrl-C into a stop after the current update; the second one interrupts at once.

    Args:
        run: What is told; it saves and raises `stopped`.
        preemptible: Whether SIGTERM and SIGUSR1 do so as well.
    """

    def __init__(self, run: Interruptible, preemptible: bool = False) -> None:
        self.run = run
        self.signals = (signal.SIGINT, *(PREEMPTIONS if preemptible else ()))
        self.before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self._note) for number in self.signals}

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.run.interrupted:
            raise KeyboardInterrupt
        self.run.interrupted = True
        self.run.preempted = self.run.preempted or number in PREEMPTIONS


def stopped(run: Interruptible, message: str) -> KeyboardInterrupt:
    """Returns what a run raises that stopped because of a signal."""
    return Preempted(message) if run.preempted else KeyboardInterrupt(message)

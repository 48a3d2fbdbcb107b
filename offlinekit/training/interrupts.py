"""Signals that end a run after the update under way, with a checkpoint.

Handlers belong to the process, runs come and go in any order: two generators side by side, one inside an evaluator of
the other, one that is never ended. So there is one handler a signal; it notes the signal on each run that waits for
it, and the handler of before comes back with the last of them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, Protocol, TypeVar

from offlinekit.errors import Preempted

Step = TypeVar("Step")
PREEMPTIONS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that schedulers send before they take a machine back."""

COMPLETE = "interrupted in its last step: the run is complete"

_WAITING: dict[int, list[Interruptible]] = {}
"""The runs that wait for each signal, by its number."""
_BEFORE: dict[int, Any] = {}
"""The handlers to come back."""
_WHOLE: ContextVar[frozenset[int]] = ContextVar("whole", default=frozenset())
"""Signals that runs in this context notice between two of their steps as well."""


class Interruptible(Protocol):
    """A run that notes signals."""

    interrupted: bool
    preempted: bool


@contextmanager
def whole_runs(preemptible: bool = False) -> Iterator[None]:
    """Makes runs notice Ctrl-C between two of their steps as well, if the caller has no handler of its own.

    Args:
        preemptible: Whether all of them notice SIGTERM and SIGUSR1 too.
    """
    token = _WHOLE.set(_WHOLE.get() | {signal.SIGINT, *(PREEMPTIONS if preemptible else ())})
    try:
        yield
    finally:
        _WHOLE.reset(token)


def interruptible(
    run: Interruptible, steps: Generator[Step, None, None], preemptible: bool = False
) -> Iterator[Step]:
    """Yields the steps of a run, which stops after its current update at the first Ctrl-C.

    One in the last step is raised once the run is complete. The second one interrupts at once. Between two steps
    Ctrl-C is the caller's.

    Args:
        run: What the signals are noted on; it saves and raises `stopped`.
        steps: Of the run.
        preemptible: Whether SIGTERM and SIGUSR1 do so as well, also between two steps.
    """
    always = {*(PREEMPTIONS if preemptible else ()), *_WHOLE.get()}
    with closing(steps), noted(run, always):
        while True:
            with noted(run, (signal.SIGINT,)):
                try:
                    step = next(steps)
                except StopIteration:
                    if (
                        run.interrupted and not run.preempted
                    ):  # In its last evaluation; the caller may have more to do.
                        raise KeyboardInterrupt(COMPLETE) from None
                    return
            yield step


@contextmanager
def noted(run: Interruptible, signals: Collection[int]) -> Iterator[None]:
    """Records signals on a run in place of their default action; outside of the main thread it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in signals:
        if signal.getsignal(number) is not _note:
            _BEFORE[number] = signal.signal(number, _note)
        _WAITING.setdefault(number, []).append(run)
    try:
        yield
    finally:
        for number in signals:
            _WAITING[number].remove(run)
            if not _WAITING[number]:
                _bring_back(number)


def _bring_back(number: int) -> None:
    """Restores the earlier handler, unless another was set since, or no handler can be set here."""
    if threading.current_thread() is not threading.main_thread():
        return  # A generator that was collected elsewhere; the next signal restores it.
    before = _BEFORE.pop(number, None)
    if signal.getsignal(number) is _note:
        signal.signal(number, signal.SIG_DFL if before is None else before)


def _note(number: int, _frame: FrameType | None) -> None:
    runs = _WAITING[number]
    if not runs:
        _bring_back(number)
        signal.raise_signal(number)
    elif number == signal.SIGINT and any(run.interrupted for run in runs):
        raise KeyboardInterrupt
    for run in runs:
        run.interrupted = True
        run.preempted = run.preempted or number in PREEMPTIONS


def stopped(run: Interruptible, message: str) -> KeyboardInterrupt:
    """Returns what a run raises that stopped because of a signal."""
    return Preempted(message) if run.preempted else KeyboardInterrupt(message)

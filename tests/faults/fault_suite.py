"""Counts of the fault suite, and children that are really killed, for the tests beside.

OFFLINEKIT_FAULTS=full takes the larger counts.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked

FULL = os.environ.get("OFFLINEKIT_FAULTS") == "full"
Tally = Callable[[int], None]


def count(small: int, large: int) -> int:
    """Returns how many faults to make."""
    return large if FULL else small


def limit_time(seconds: float) -> None:
    """Ends this process by SIGPROF after so many seconds of its own time, which other programs do not take from it."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


class Children:
    """Processes that each call one function of `fault_children`."""

    start = staticmethod(forked.start)

    def call(self, function: Callable[..., Any], *arguments: Any, seconds: float = 120.0) -> int:
        """Runs a function to its end; returns the exit code, negative for a signal."""
        process = self.start(function, *arguments)
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()
            raise AssertionError(f"{function.__name__}{arguments} still ran after {seconds} s")
        return int(process.exitcode)

    def told(self, function: Callable[..., Any], path: Path, *arguments: Any, seconds: float = 120.0) -> Any:
        """Runs a function that writes JSON to `path`, and returns that."""
        code = self.call(function, path, *arguments, seconds=seconds)
        assert code == 0, f"{function.__name__} ended with {code}"
        return json.loads(path.read_text())

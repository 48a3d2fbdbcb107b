"""Real processes that train together, forked from a server that has imported the package once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked


def free_port() -> int:
    """Returns a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Ranks:
    """One process a rank, without torchrun's agent: each must notice by itself that another has ended.

    Args:
        size: How many.
        function: Called in each with its rank and the arguments; its return value is the exit code.
        arguments: Of the function.
        log: Folder for rank<N>.log with what each prints.
    """

    def __init__(self, size: int, function: Callable[..., Any], *arguments: Any, log: Path) -> None:
        port = free_port()
        self.log = log
        self.processes = []
        for rank in range(size):
            places = {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            told = {name: str(value) for name, value in {**places, "LOCAL_RANK": rank}.items()}
            target = (told, log / f"rank{rank}.log", function, rank, *arguments)
            self.processes.append(forked.start(_begin, *target, daemon=True))

    def wait(self, seconds: float = 60.0) -> list[int]:
        """Returns the exit codes; a process that is still there after a time is killed and the test fails."""
        end = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(end - time.monotonic(), 0.0))
        late = [rank for rank, process in enumerate(self.processes) if process.is_alive()]
        for rank in late:
            self.processes[rank].kill()
        assert not late, f"ranks {late} were there after {seconds} s\n{self.said()}"
        return [process.exitcode for process in self.processes]

    def signal(self, rank: int, number: signal.Signals) -> None:
        """Sends a signal to one of them."""
        os.kill(self.processes[rank].pid, number)

    def said(self) -> str:
        """Returns what all have printed."""
        return "\n".join(path.read_text() for path in sorted(self.log.glob("rank*.log")))


def _begin(told: dict[str, str], log: Path, function: Callable[..., Any], *arguments: Any) -> None:
    os.environ.update(told)
    os.environ["OMP_NUM_THREADS"] = "1"
    output = log.open("w")
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    import torch

    torch.set_num_threads(1)
    sys.exit(function(*arguments))


def command(_rank: int, words: list[str]) -> None:
    """Runs the command line as `python -m offlinekit` does."""
    from offlinekit.cli.main import main

    main(words, prog_name="offlinekit")


def wait_for(condition: Callable[[], Any], ranks: Ranks, seconds: float = 60.0) -> None:
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come to that in {seconds} s\n{ranks.said()}"
        time.sleep(0.02)

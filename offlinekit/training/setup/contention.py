"""Threads that wait for cores which other programs hold: up to 20 times slower, and easily set right."""

from __future__ import annotations

import os

import torch

from offlinekit.events import get_logger

log = get_logger()

_WARNED: list[str] = []
"""What was said in this process."""


def contention(n_threads: int, load: float, n_cores: int, wait_policy: str) -> str:
    """Returns what is wrong with several threads on cores that are in use already; empty if nothing is.

    Threads of one product wait for each other in a loop, so one that has no core keeps the others from working.

    Args:
        n_threads: Of torch.
        load: Programs that wanted a core in the last minute, on average.
        n_cores: Cores of this process.
        wait_policy: OMP_WAIT_POLICY; "PASSIVE" lets threads sleep instead.
    """
    if n_threads < 2 or load <= n_cores or wait_policy.strip().upper() == "PASSIVE":
        return ""
    return (
        f"torch has {n_threads} threads, but {load:.1f} programs share {n_cores} cores: threads that wait for one "
        "another may make updates up to 20 times slower; set OMP_NUM_THREADS=1 before Python starts"
    )


def warn_of_contention(device: torch.device) -> None:
    """Logs a warning, once a process, if a run on the processor is slowed by programs beside it."""
    if device.type != "cpu" or not hasattr(os, "getloadavg"):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    policy = os.environ.get("OMP_WAIT_POLICY", "")
    wrong = contention(torch.get_num_threads(), os.getloadavg()[0], cores, policy)
    if wrong and not _WARNED:
        _WARNED.append(wrong)
        log.warning(wrong)

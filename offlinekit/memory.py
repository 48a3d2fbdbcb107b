"""Memory that this process may still take."""

from __future__ import annotations

import os
from pathlib import Path

CONTROL_GROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux states the limit of a container, in its newer and its older way."""


def memory_limit() -> int:
    """Returns bytes: what is free on the machine, or less if the process or its container is limited."""
    return min([_free(), *_limits_of_process(), *filter(None, map(_stated, CONTROL_GROUP))])


def _free() -> int:
    """Returns what can be given without swapping; all memory of the machine if it does not say what is free."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits_of_process() -> list[int]:
    import resource

    soft = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
    return [limit for limit in soft if limit != resource.RLIM_INFINITY]


def _stated(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None

"""Which processor this is."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path


@cache
def processor_name() -> str:
    """Returns the name of the processor's model, such as "AMD EPYC 9454"; what the platform says if it hides it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
    return match.group(1) if match else platform.processor()

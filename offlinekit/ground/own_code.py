"""Where the code of a user is among the frames of a call: for messages about what it did."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from traceback import FrameSummary

PACKAGE = str(Path(__file__).parents[1])


def own_line(frames: Iterable[FrameSummary], within: str = "") -> str | None:
    """Returns the innermost line that is neither of this package nor of an installed one: "mine.py:12, in build".

    Args:
        frames: Of a call, the innermost last.
        within: End of the name of a file of this package; lines that do not lie within its calls are left out.
    """
    for frame in reversed(list(frames)):
        if within and frame.filename.endswith(within):
            return None
        if not _is_installed(frame.filename):
            return f"{frame.filename}:{frame.lineno}, in {frame.name}"
    return None


def _is_installed(file: str) -> bool:
    made_up = file.startswith("<") and not file.startswith(("<stdin", "<ipython"))
    return made_up or file.startswith((PACKAGE, *_places()))


@cache
def _places() -> tuple[str, ...]:
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})

"""Warnings that point at the line of the caller's own code, however deep in the library they arise."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

OWN = str(Path(__file__).parent.parent)


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns as `warnings.warn` does, at the nearest line outside the library."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__", "<unknown>"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_own(file: str) -> bool:
    return file.startswith(OWN) or file == "<string>" or Path(file).name in ("contextlib.py", "functools.py")

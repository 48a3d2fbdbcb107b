"""Files that may be compressed with gzip, unpacked as far as the budget of a load allows."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path
from typing import IO, cast

from offlinekit.load_budget import budget_of

UNPACKING = (OSError, EOFError, zlib.error)
"""Exceptions that a damaged gzip file raises."""


def open_unpacked(path: Path) -> IO[bytes]:
    """Opens a file, the content of one whose name ends in .gz.

    Raises:
        FileFormatError: For more content than the budget allows.
    """
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    budget = budget_of(path)
    with gzip.open(path) as file:
        content = file.read(budget.limit + 1)
    budget.take(len(content), f"the text in {path}")
    return io.BytesIO(content)


def open_packed(path: Path) -> IO[bytes]:
    """Opens an array that lies in a gzip file."""
    return cast("IO[bytes]", gzip.open(path, "rb"))

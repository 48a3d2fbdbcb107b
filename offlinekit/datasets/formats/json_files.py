"""JSON that others wrote, read with suspicion: whole, or line by line, also from a zip file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from offlinekit.datasets.formats.array_files import entries_of
from offlinekit.datasets.formats.gzipped import UNPACKING, open_unpacked
from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of

TEXT_FACTOR = 24
"""Bytes that a byte of JSON may become: "[]," is a list of 56."""
MOST_LINE = 1 << 28
"""Bytes of the longest line that is read."""


def read_object(path: Path) -> dict[str, Any]:
    """Returns what a JSON file holds, which must be an object.

    Raises:
        FileFormatError: For a file that is missing, no JSON, or JSON of anything else.
    """
    try:
        budget_of(path)
        content = parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} cannot be read ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise FileFormatError(
            f"{path} holds a JSON {type(content).__name__}, expected an object; fetch it again"
        )
    return content


def parse(text: str | bytes) -> Any:
    """Returns what JSON text stands for.

    Raises:
        ValueError: For text that is no JSON, or nested too deep.
    """
    budget_of().check(TEXT_FACTOR * len(text), "a JSON text")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def read_lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file, unpacked if its name ends in ".gz", or of those in a zip file that end in ".json".

    Raises:
        FileFormatError: For a damaged archive, and a line without an end.
    """
    try:
        if path.suffix.lower() != ".zip":
            with open_unpacked(path) as file:
                yield from _lines_of(file, path)
            return
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                entry.filename for entry in entries_of(archive) if entry.filename.endswith(".json")
            )
            for name in names:
                with archive.open(name) as member:
                    yield from _lines_of(io.BufferedReader(cast("io.RawIOBase", member)), path)
    except (FileFormatError, FileNotFoundError, PermissionError):
        raise
    except (zipfile.BadZipFile, RuntimeError, ValueError, *UNPACKING) as error:
        raise FileFormatError(f"{path} is damaged ({error}); fetch it again") from error


def _lines_of(file: IO[bytes], path: Path) -> Iterator[bytes]:
    budget = budget_of(path)
    longest = min(MOST_LINE, budget.limit // TEXT_FACTOR)
    while line := file.readline(longest):
        if len(line) == longest:
            raise FileFormatError(
                f"{path} has a line of more than {longest:,} bytes, expected one batch a line"
            )
        budget.work(len(line) // 4)
        yield line

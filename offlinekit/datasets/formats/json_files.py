"""JSON that others wrote, read with suspicion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError


def read_object(path: Path) -> dict[str, Any]:
    """Returns what a JSON file holds, which must be an object.

    Raises:
        FileFormatError: For a file that is missing, no JSON, or JSON of anything else.
    """
    try:
        found = parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FileFormatError(f"{path} cannot be read ({error}); fetch it again") from error
    if not isinstance(found, dict):
        raise FileFormatError(
            f"{path} holds a JSON {type(found).__name__}, expected an object; fetch it again"
        )
    return found


def parse(text: str | bytes) -> Any:
    """Returns what JSON text stands for.

    Raises:
        ValueError: For text that is no JSON, or nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error

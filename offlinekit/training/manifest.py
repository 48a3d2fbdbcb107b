"""manifest.json: what the small files of a run folder held when they were written, by bytes and SHA-256.

Policies and checkpoints have their hashes inside. A table that a run still appends to is known up to the row of the
last manifest.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write, check_plain, read_small

NAME = "manifest.json"
FORMAT = 1
COVERED = ("config.json", "system.json", "metrics.csv")


def write(folder: Path) -> None:
    """Records the files of a run folder as they are now."""
    files = {}
    for name in COVERED:
        if (folder / name).is_file():
            content = (folder / name).read_bytes()
            files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with atomic_write(folder / NAME) as beside:
        beside.write_text(json.dumps({"format": FORMAT, "files": files}, indent=2) + "\n")


def read_text(path: Path) -> str:
    """Returns the text of a file that a manifest beside it may cover, as far as it does.

    Raises:
        FileFormatError: For a file that is not what its manifest says.
    """
    check_inside(path)
    content = read_small(path)
    facts = _facts(path)
    if facts is not None:
        content = content[: facts["bytes"]]
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise FileFormatError(
                f"{path} is damaged, or was changed: it does not match {path.with_name(NAME)}; restore it from a "
                "copy, or remove the manifest if the change was meant"
            )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path} is damaged: it is no text ({error}); restore it from a copy"
        ) from error


def check_inside(path: Path) -> None:
    """Checks that a file of a run folder lies in it, and is no link to a file elsewhere, no pipe and no device.

    Raises:
        FileFormatError: For a file that leads out of its folder, or has no end.
    """
    if not path.resolve().is_relative_to(path.parent.resolve()):
        raise FileFormatError(
            f"{path} is a link out of its folder, which is not followed; put the file itself there"
        )
    check_plain(path)


def _facts(path: Path) -> dict[str, Any] | None:
    """Returns what the manifest says of a file; None if there is no manifest, as in older runs."""
    place = path.with_name(NAME)
    if not place.is_file() or path.name not in COVERED:
        return None
    try:
        manifest = json.loads(read_small(place))
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']!r}, this version reads {FORMAT}")
        facts = {"bytes": int(manifest["files"][path.name]["bytes"])}
        return {**facts, "sha256": manifest["files"][path.name]["sha256"]}
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise FileFormatError(
            f"{place} is damaged and does not cover {path.name} ({error!r}); restore it from a copy, or remove it"
        ) from error

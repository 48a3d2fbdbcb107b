"""Files written whole or not at all, and errors of the disk that say what was lost."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from offlinekit.errors import FileFormatError, OfflineKitError, WriteError, require

LARGEST_TEXT = 1 << 28
"""Bytes of the largest description or table that is read at once."""
LARGEST_YAML, DEEPEST_YAML = 1 << 20, 16
"""Bytes of a YAML file, and how deep it is nested; no plan and no schema needs more."""


EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
"""A number with an exponent, as YAML 1.2 has it."""


def check_plain(path: Path) -> None:
    """Checks that a file, if it is there, has an end: a pipe or a device may keep its reader for ever.

    Raises:
        FileFormatError: For a pipe, a socket or a device.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise FileFormatError(
            f"{path} is a pipe, a socket or a device, expected a file; put the file itself there"
        )


def read_small(path: Path) -> bytes:
    """Returns the content of a description or a table.

    Raises:
        FileNotFoundError: If there is no file.
        FileFormatError: For what is no plain file, cannot be read, or is larger than `LARGEST_TEXT`.
    """
    check_plain(path)
    if path.is_dir():
        raise FileFormatError(f"{path} is a folder, expected a file; put the file itself there")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read ({error}); see who may read it") from error
    if len(content) > LARGEST_TEXT:
        raise FileFormatError(
            f"{path} is larger than {LARGEST_TEXT:,} bytes, which nobody has written; remove it"
        )
    return content


@contextmanager
def reraise_as_write_error(path: Path, parts: Sequence[Path] | None = None) -> Iterator[None]:
    """Turns an OSError into a WriteError that names the path, the bytes written and those that are free.

    What this package itself says is missing, or there already, stays as it is: it has no number of the system.

    Args:
        path: What was to be written.
        parts: Files that the bytes went to; `path` itself if not given.
    """
    try:
        yield
    except OfflineKitError:
        raise
    except OSError as error:
        if isinstance(error, (FileNotFoundError, FileExistsError)) and error.errno is None:
            raise
        folder = next(place for place in (path.parent, *path.parents) if place.exists())
        written = sum(part.stat().st_size for part in ([path] if parts is None else parts) if part.is_file())
        raise WriteError(
            error.errno or errno.EIO,
            f"{path} could not be written: {error.strerror or error}, after {written:,} bytes "
            f"({shutil.disk_usage(folder).free:,} bytes are free there); make room or name another folder",
        ) from error


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a path to write to, then puts that file in place of `path` at once, or not at all.

    The file is on disk before it gets its name, and the name before this returns.

    Raises:
        WriteError: If the disk is full, broken or read-only; `path` is as it was.
    """
    parts: list[Path] = []
    try:
        with reraise_as_write_error(path, parts):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
            os.close(handle)
            beside = Path(name)
            parts.append(beside)
            yield beside
            put_in_place(beside, path)
    finally:
        for part in parts:
            with suppress(OSError):  # The first error stands for this one.
                part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a folder to write to, then gives it the name `path`, which must be free, at once, or not at all.

    All that is in it is on disk before it gets its name, and the name before this returns.

    Raises:
        WriteError: If the disk is full, broken or read-only; nothing is left.
    """
    with reraise_as_write_error(path, []):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
            whole = Path(beside) / path.name
            whole.mkdir()
            yield whole
            for part in [*whole.rglob("*"), whole]:
                sync(part)
            whole.rename(path)
        sync_folder(path.parent)


def put_in_place(beside: Path, path: Path) -> None:
    """Renames a written file: first its bytes are on disk, then its name is."""
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    mask = os.umask(0)
    os.umask(mask)
    beside.chmod(0o666 & ~mask)
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Syncs the names in a folder to disk."""
    sync(folder)


def sync(path: Path) -> None:
    """Syncs the bytes of a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain_loader(yaml: ModuleType) -> Any:
    """Returns a loader of plain data that takes `1e-4` as a number, as YAML 1.2 and JSON do.

    PyYAML goes by YAML 1.1, where a number with an exponent has a dot and a sign in it: `1.0e-4`.
    """

    class PlainLoader(yaml.SafeLoader):  # type: ignore[misc, name-defined]  # Of an optional module.
        """Loads plain data."""

    PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))
    return PlainLoader


def read_yaml(path: Path, extra: str = "sweep", *, as_texts: bool = False) -> dict[str, Any]:
    """Reads a YAML file of plain data: no tags, no aliases, at most 1 MiB.

    Args:
        path: Of the file.
        extra: The extra of offlinekit that installs PyYAML for it.
        as_texts: Whether every value stays the text that it is, so that a label `no` is no False.

    Raises:
        FileFormatError: For a file that is none.
    """
    yaml: ModuleType = require("yaml", extra)
    with path.open("rb") as file:
        text = file.read(LARGEST_YAML + 1)
    if len(text) > LARGEST_YAML:
        raise FileFormatError(f"{path} is larger than {LARGEST_YAML:,} bytes, which no plan or schema needs")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise FileFormatError(f"{path} has YAML aliases (*name); write the values out")
            opens, closes = (
                isinstance(event, kind) for kind in (yaml.CollectionStartEvent, yaml.CollectionEndEvent)
            )
            depth += opens - closes
            if depth > DEEPEST_YAML:
                raise FileFormatError(
                    f"{path} is nested more than {DEEPEST_YAML} deep, which no plan or schema is"
                )
        data = yaml.load(text, Loader=yaml.BaseLoader if as_texts else _plain_loader(yaml))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"{path} is no YAML of plain data: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise FileFormatError(f"{path} must hold names and values, got {type(data).__name__}")
    return data

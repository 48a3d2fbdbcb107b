"""Policy files: tensors and JSON in one safetensors file, both checked by hashes, never code.

Format 1 has a hash of the tensors in the JSON; format 2 also one of the JSON's text beside it.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from offlinekit.errors import FileFormatError, OfflineKitError
from offlinekit.ground.own_code import own_line
from offlinekit.io import atomic_write

FORMAT = 2
KEY, HASH = "offlinekit", "sha256"


def write(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Writes a file atomically; equal contents give equal bytes.

    Args:
        path: Of the file; its folder is made if it is missing.
        header: Plain data.
        tensors: By name; moved to the CPU.

    Raises:
        WriteError: If it cannot be written; a file that was there stays as it was.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    full = {"format": FORMAT, "sha256": digest_of(plain), **header}
    text = json.dumps(full)
    metadata = {KEY: text, HASH: hashlib.sha256(text.encode()).hexdigest()}
    with atomic_write(path) as beside:
        beside.write_bytes(_content(plain, metadata))


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Turns what a header causes that no version wrote into a FileFormatError.

    Raises:
        OfflineKitError: For what code of the user's own raised, such as an encoder; says its line.
    """
    try:
        yield
    except FileFormatError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
        OverflowError,
    ) as error:
        blame_own_code(path, error)
        raise FileFormatError(
            f"{path} is damaged: its header does not describe an algorithm ({error!r}); restore it from a copy"
        ) from error


def blame_own_code(path: Path, error: Exception) -> None:
    """Raises OfflineKitError for an error that code of the user's own raised while a file was loaded."""
    if line := own_line(traceback.extract_tb(error.__traceback__)):
        raise OfflineKitError(
            f"{path} was read, but code of your own, which makes its policy, failed at {line}: "
            f"{type(error).__name__}: {error}; correct that, and load again"
        ) from error


def _content(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """Returns the bytes of a safetensors file; the library itself writes metadata in an order that varies."""
    content = save(tensors)
    start = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": metadata, **json.loads(content[8:start])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # Tensors begin at a multiple of 8 bytes.
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[start:]))


def read(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the header and the tensors of a file.

    Raises:
        FileNotFoundError: If there is none.
        FileFormatError: For a file that is damaged, no policy of offlinekit, or of a later format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no policy file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # No mapping.
    except (SafetensorError, ValueError, OSError, RuntimeError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} is no policy file of offlinekit: {_guess(path)} ({error})") from error
    header = _header(path, metadata)
    if header.get("sha256") != digest_of(tensors):
        raise FileFormatError(
            f"{path} is damaged: its tensors do not match their hash; restore it from a copy"
        )
    return header, {name: value.to(device) for name, value in tensors.items()}


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Returns the JSON of a file whose metadata these are, once it is known to be what was written."""
    text = metadata.get(KEY)
    if text is None:
        raise FileFormatError(f"{path} holds tensors, but was not written by offlinekit; use algo.save(path)")
    damaged = f"{path} is damaged: its header does not match its hash; restore it from a copy"
    if HASH in metadata and metadata[HASH] != hashlib.sha256(text.encode()).hexdigest():
        raise FileFormatError(damaged)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} is damaged: its header is no JSON ({error})") from error
    version = header.get("format") if isinstance(header, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FileFormatError(f"{path} is damaged: its format must be a number from 1 on, got {version!r}")
    if version > FORMAT:
        raise FileFormatError(
            f"{path} has format {version}, this version reads up to {FORMAT}; upgrade offlinekit"
        )
    if version > 1 and HASH not in metadata:
        raise FileFormatError(damaged)
    return dict(header)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of tensors of the CPU with their names, as a file of them notes it."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def hash_of_networks(networks: nn.Module) -> str:
    """Returns the SHA-256 of all numbers of networks, the same wherever they are and whatever file they are in."""
    return digest_of({name: value.cpu() for name, value in networks.state_dict().items()})


def _guess(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    of_d3rlpy = path.suffix in (".d3", ".pt")
    remedy = "; one of d3rlpy is taken over by offlinekit.from_d3rlpy(path)" if of_d3rlpy else ""
    if start[:1] == b"\x80":
        return f"it is a pickle, which can run code and is never read{remedy}"
    if start[:2] == b"PK":
        return f"it is a zip archive, as torch.save writes; those hold pickles, which are never read{remedy}"
    return "it is truncated, damaged or of another format"

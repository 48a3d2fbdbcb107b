"""Policy files: tensors and JSON in one safetensors file, checked by a hash, never code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from offlinekit.datasets.storage import written_beside
from offlinekit.errors import FileFormatError

FORMAT = 1
KEY = "offlinekit"


def write(path: Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Writes a file atomically.

    Args:
        path: Where; the folder is made where it is missing.
        header: Plain data.
        tensors: By name; moved to the CPU.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    full = {"format": FORMAT, "sha256": _digest(plain), **header}
    with written_beside(path) as beside:
        save_file(plain, str(beside), metadata={KEY: json.dumps(full)})


def read(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the header and the tensors of a file.

    Raises:
        FileNotFoundError: Where there is none.
        FileFormatError: For a file that is damaged, no policy of offlinekit, or of a later format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no policy file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # No mapping.
    except (SafetensorError, ValueError, OSError) as error:
        raise FileFormatError(f"{path} is no policy file of offlinekit: {_guess(path)} ({error})") from error
    if not isinstance(header, dict):
        raise FileFormatError(f"{path} holds tensors, but was not written by offlinekit; use algo.save(path)")
    if header["format"] > FORMAT:
        raise FileFormatError(
            f"{path} has format {header['format']}, this version reads up to {FORMAT}; upgrade offlinekit"
        )
    if header["sha256"] != _digest(tensors):
        raise FileFormatError(
            f"{path} is damaged: its tensors do not match their hash; restore it from a copy"
        )
    return header, {name: value.to(device) for name, value in tensors.items()}


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data if value.numel() else b"")
    return digest.hexdigest()


def _guess(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    if start[:1] == b"\x80":
        return "it is a pickle, which can run code and is never read"
    if start[:2] == b"PK":
        return "it is a zip archive, as torch.save writes; those hold pickles, which are never read"
    return "it is truncated, damaged or of another format"

"""Devices of the networks of an algorithm."""

from __future__ import annotations

import re

import torch


def check_device(name: str) -> None:
    """Raises ValueError for what is no name of a device."""
    if not re.fullmatch(r"auto|cpu(:0)?|cuda(:\d+)?", name):
        gpu = "; a GPU is 'cuda'" if "gpu" in name.lower() else ""
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {name!r}{gpu}")


def find_device(name: str) -> torch.device:
    """Returns the device of a name; "auto" is a GPU if there is one.

    Raises:
        ValueError: For a GPU if torch can use none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device("cpu" if name == "cpu:0" else name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={name!r} needs a GPU that torch can use, and there is none; use 'cpu'")
    return device

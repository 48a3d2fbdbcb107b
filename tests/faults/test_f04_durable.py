"""F4: what a call that writes has returned from is there after a filesystem that died in the next moment."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fault_children
import pytest
from fault_suite import Children
from test_f04_disk import device, mounted, unmount  # noqa: F401  # A fixture.

import offlinekit
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.testing import small_dataset


def write_and_die(writer: str, folder: Path) -> None:
    """Writes a file of a new name, and lets the filesystem lose all that it has not yet put on the device."""
    handle = os.open(folder, os.O_RDONLY)
    if writer == "policy":
        fault_children.make_policy(folder / "policy.okt")
    else:
        fault_children.WRITERS[writer](folder)
    fcntl.ioctl(handle, fault_children.SHUT_DOWN, struct.pack("I", 2))


READ: dict[str, Callable[[Path], Any]] = {
    "policy": lambda folder: offlinekit.load(folder / "policy.okt").grad_step,
    "dataset": lambda folder: len(MDPDataset.load(folder / "dataset.h5")),
    "minari": lambda folder: len(get_dataset(str(folder / "minari-v0"))[0]),
}


@pytest.mark.parametrize("writer", list(READ))
def test_it_is_there(writer: str, device: Path, children: Children, tmp_path: Path) -> None:  # noqa: F811
    expected = {"policy": 3, "minari": len(small_dataset("continuous", 40, 100))}
    place = tmp_path / "disk"
    mounted("ext4", str(device), place, "-o", "loop,noauto_da_alloc")  # As filesystems without such favours.
    try:
        assert children.call(write_and_die, writer, place) == 0
    finally:
        unmount(place)
    mounted("ext4", str(device), place, "-o", "loop")
    try:
        assert READ[writer](place) == expected.get(writer, expected["minari"])
    finally:
        unmount(place)

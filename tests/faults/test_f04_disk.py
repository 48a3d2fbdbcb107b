"""F4: a disk that is full, broken or read-only: what was there stays, and the error names path and bytes.

Needs leave to mount (root); a limit of the system on the size of files needs none.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import fault_children
import pytest
from fault_suite import Children, Tally, count

import offlinekit
from offlinekit.datasets import MDPDataset
from offlinekit.testing import small_dataset

PAGE = 4096
LEFT = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14]  # Pages that are left on the disk.
WRITERS = ["policy", "dataset", "plain dataset"]


def mounted(kind: str, source: str, place: Path, *options: str) -> None:
    place.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", kind, *options, source, place], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"this process may not mount a small filesystem: {made.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem in memory of 2 MB."""
    place = tmp_path / "disk"
    mounted("tmpfs", "tmpfs", place, "-o", "size=2m")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def unmount(place: Path) -> None:
    for _ in range(100):
        gc.collect()  # A file that was mapped may be held until then.
        if subprocess.run(["umount", place], capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    subprocess.run(["umount", "-l", place], check=True)
    raise AssertionError(f"{place} is still in use")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """An ext4 in a file."""
    if not shutil.which("mkfs.ext4"):
        pytest.skip("there is no mkfs.ext4 here")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    return image


def fill(disk: Path, pages: int) -> None:
    """Leaves so many pages free."""
    free = os.statvfs(disk)
    size = (free.f_bavail - pages) * free.f_bsize
    with (disk / "ballast").open("wb") as file:
        file.write(bytes(max(size, 0)))
        file.flush()
        os.fsync(file.fileno())


def prepare(folder: Path, children: Children) -> None:
    assert children.call(fault_children.make_policy, folder / "policy.okt") == 0
    small_dataset("continuous").save(folder / "dataset.h5")
    os.sync()


def check_intact(folder: Path, leftovers: int = 0) -> None:
    assert offlinekit.load(folder / "policy.okt").grad_step == 3
    assert len(MDPDataset.load(folder / "dataset.h5")) == 120
    assert len([path for path in folder.iterdir() if path.name.startswith(".")]) <= leftovers


def check_said(found: dict[str, object], folder: Path, reason: str) -> None:
    assert found["error"] == "WriteError", found
    name = "policy.okt" if "policy" in str(found["message"]) else "dataset.h5"
    assert f"{folder / name} could not be written: " in str(found["message"])
    assert reason in str(found["message"])
    assert " bytes are free there); make room or name another folder" in str(found["message"])


def test_full(disk: Path, children: Children, tmp_path: Path, tally: Tally) -> None:
    prepare(disk, children)
    for i, pages in enumerate(LEFT):
        fill(disk, pages)
        writer = WRITERS[i % 3] if pages < 5 else "dataset"
        found = children.told(fault_children.try_to_write, tmp_path / "told", writer, disk)
        check_said(found, disk, "No space left on device")
        check_intact(disk)
        (disk / "ballast").unlink()
    tally(len(LEFT))


def test_a_run_on_a_full_disk_keeps_its_checkpoints(disk: Path, children: Children, tmp_path: Path) -> None:
    made = children.told(fault_children.try_to_write, tmp_path / "told", "run", disk)
    assert made["error"] is None
    (run,) = disk.iterdir()
    (run / "policy.okt").unlink()
    for path in (run / "checkpoints").glob("step_*20.okt"):
        path.unlink()
    fill(disk, 1)
    found = children.told(fault_children.try_to_write, tmp_path / "told", "run", disk)
    assert (found["error"], "No space left" in found["message"]) == ("WriteError", True), found
    assert [offlinekit.load(path).grad_step for path in sorted((run / "checkpoints").iterdir())] == [15]
    (disk / "ballast").unlink()
    assert children.told(fault_children.try_to_write, tmp_path / "told", "run", disk)["error"] is None
    assert [path.name for path in disk.iterdir()] == [run.name]
    assert offlinekit.load(run / "policy.okt").grad_step == 20


def test_broken(device: Path, children: Children, tmp_path: Path, tally: Tally) -> None:
    """A filesystem that answers with EIO from some byte on; what it holds is seen when it is mounted anew."""
    wanted, place = count(6, 12), tmp_path / "disk"
    for i in range(wanted):
        mounted("ext4", str(device), place, "-o", "loop")
        try:
            if i == 0:
                prepare(place, children)
            name, told = WRITERS[i % 3], tmp_path / "told"
            found = children.told(fault_children.break_while_writing, told, name, place, i * 1500)
            check_said(found, place, "Input/output error")
        finally:
            unmount(place)
        mounted("ext4", str(device), place, "-o", "loop")
        check_intact(place, leftovers=1)
        for path in place.glob(".*.tmp"):
            path.unlink()
        unmount(place)
    tally(wanted)


def test_read_only(disk: Path, children: Children, tmp_path: Path, tally: Tally) -> None:
    prepare(disk, children)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for writer in WRITERS:
        found = children.told(fault_children.try_to_write, tmp_path / "told", writer, disk)
        check_said(found, disk, "Read-only file system")
    found = children.told(fault_children.try_to_write, tmp_path / "told", "run", disk)
    assert (found["error"], f"{disk}/IQL_small_" in found["message"]) == ("WriteError", True), found
    check_intact(disk)
    tally(4)


def test_larger_than_the_system_allows(children: Children, tmp_path: Path, tally: Tally) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    prepare(folder, children)
    for i, limit in enumerate((10, 1000, PAGE, 3 * PAGE)):
        found = children.told(fault_children.try_to_write, tmp_path / "told", WRITERS[i % 3], folder, limit)
        check_said(found, folder, "File too large")
        check_intact(folder)
    tally(4)


EXPORTS = {"d3rlpy": "d3rlpy.h5", "minari": "minari-v0"}


def check_export(found: dict[str, object], folder: Path, writer: str, reason: str) -> None:
    assert found["error"] == "WriteError", found
    assert f"{folder / EXPORTS[writer]} could not be written: {reason}" in str(found["message"])
    assert [path.name for path in folder.iterdir() if path.name != "ballast"] == []


def test_exports_on_a_full_disk(disk: Path, children: Children, tmp_path: Path, tally: Tally) -> None:
    for pages in (0, 2, 12):
        fill(disk, pages)
        for writer in EXPORTS:
            found = children.told(fault_children.try_to_write, tmp_path / "told", writer, disk)
            check_export(found, disk, writer, "No space left on device")
        (disk / "ballast").unlink()
    tally(6)


@pytest.mark.parametrize("writer", list(EXPORTS))
def test_exports_larger_than_the_system_allows(
    writer: str, children: Children, tmp_path: Path, tally: Tally
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for limit in (10, PAGE, 3 * PAGE):
        found = children.told(fault_children.try_to_write, tmp_path / "told", writer, folder, limit)
        check_export(found, folder, writer, "File too large")
    assert children.told(fault_children.try_to_write, tmp_path / "told", writer, folder)["error"] is None
    tally(3)

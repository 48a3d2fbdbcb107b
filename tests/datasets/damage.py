"""Ways to damage a sound file, and files made by hand that claim or hold what they should not."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import layouts as sound
import numpy as np

from offlinekit.datasets.formats import crc32c, tfrecord

Make = Callable[[Path], Path]
Change = Callable[[Path], Any]


def damaged(make: Make, *changes: Change) -> Make:
    """A sound file that is changed afterwards."""

    def write(folder: Path) -> Path:
        path = make(folder)
        for change in changes:
            change(path)
        return path

    return write


def to(part: str, change: Change) -> Change:
    """Changes a file inside of a folder."""
    return lambda folder: change(folder / part)


def with_columns(make: Callable[..., Path], **columns: Any) -> Make:
    return lambda folder: make(folder, **columns)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def holding(content: bytes | str) -> Change:
    return lambda path: path.write_bytes(content.encode() if isinstance(content, str) else content)


def inside(edit: Callable[[Any], Any]) -> Change:
    """Changes an HDF5 file from within."""

    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            edit(file)

    return change


def replaced(key: str, put: Callable[[Any], Any]) -> Change:
    """Takes a member of an HDF5 file out and puts something else in its place."""

    def edit(file: Any) -> None:
        del file[key]
        put(file)

    return inside(edit)


def linked_away(key: str) -> Change:
    return replaced(key, lambda file: file.__setitem__(key, h5py.ExternalLink("/etc/passwd", "/x")))


def in_a_circle(key: str) -> Change:
    def put(file: Any) -> None:
        group = file.create_group(key)
        group.attrs["kind"] = "dict"
        group["again"] = group

    return replaced(key, put)


def of_another_file(file: Any) -> None:
    layout = h5py.VirtualLayout((6,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(6,))
    file.create_virtual_dataset("rewards", layout)


def npy(shape: tuple[int, ...], dtype: str = "<f4", content: bytes = bytes(16)) -> bytes:
    """An array whose header claims a shape."""
    out = io.BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, facts)
    return out.getvalue() + content


def npz_with_rewards(entry: bytes) -> Make:
    def write(folder: Path) -> Path:
        path = sound.npz(folder, rewards=None)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("rewards.npy", entry)
        return path

    return write


def replay(name: str, content: bytes) -> Make:
    return damaged(sound.dqn_replay, to(f"$store$_{name}_ckpt.1.gz", holding(content)))


def records(*payloads: bytes, change: Callable[[bytes], bytes] = bytes) -> Make:
    """A plain TFRecord file of these payloads whose bytes are changed."""

    def write(folder: Path) -> Path:
        path = tfrecord.write_records(folder / "x.tfrecord", payloads, packed=False)
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def claimed_record(content: bytes) -> bytes:
    """The first record claims 512 MB, with the right checksum of that."""
    length = (1 << 29).to_bytes(8, "little")
    return length + tfrecord._masked(crc32c.crc32c_of([length])).astype("<u4").tobytes() + content[12:]


def zip_bomb(folder: Path) -> Path:
    path = folder / "out.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("out.json", '{"type": "SampleBatch", "obs": "' + "A" * (3 << 20))
    return path


class Trap:
    """Unpickling it fails a test."""

    def __reduce__(self) -> Any:
        return _spring, ()


def _spring() -> None:
    raise AssertionError("a file's objects were unpickled")


def trapped(folder: Path) -> Path:
    np.savez(folder / "x.npz", **sound.flat(rewards=None), rewards=np.array([Trap()] * 6, object))
    return folder / "x.npz"

from __future__ import annotations

import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.datasets.formats import hdf5, inflating
from offlinekit.errors import DatasetWarning, FileFormatError


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "SMALL", 0)
    monkeypatch.setattr(inflating, "BLOCK_BYTES", 600)


@pytest.fixture(params=["isal.isal_zlib", "zlib"])
def _library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip(request.param)
    monkeypatch.setattr(inflating, "_library", lambda: module)


def write(path: Path, column: Any, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=column, **options)
    return path


def read(path: Path, dtype: Any = None) -> tuple[Any, Any]:
    """The column whole, and put together of its blocks."""
    with h5py.File(path) as file:
        whole = hdf5.read_array(file, "x", dtype=dtype)
        parts = [(start, block.copy()) for start, block in hdf5.read_blocks(file, "x", dtype=dtype)]
    assert [start for start, _ in parts] == [0, *np.cumsum([len(block) for _, block in parts])[:-1]]
    return whole, np.concatenate([block for _, block in parts])


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("chunks", [(7, 2), (100, 3), (1, 1), (64, 1), (101, 3)])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "|u1", "|b1", ">f4"])
def test_chunks_of_each_kind(tmp_path: Path, chunks: tuple[int, int], dtype: str) -> None:
    column = (np.random.default_rng(0).standard_normal((101, 3)) * 9).astype(dtype)
    path = write(tmp_path / "x.h5", column, chunks=chunks, compression="gzip")
    with h5py.File(path) as file:
        assert (inflating.Rows(file["x"]).chunks is not None) == (dtype != ">f4")
    for found in read(path):
        assert found.dtype.newbyteorder("=") == column.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, column)
    for found in read(path, np.float32):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, column.astype(np.float32))


@pytest.mark.parametrize(
    "options", [{"shuffle": True}, {"fletcher32": True}, {"compression": "lzf"}, {"chunks": None}]
)
def test_other_storage_is_left_to_hdf5(tmp_path: Path, options: dict[str, Any]) -> None:
    column = np.arange(300.0).reshape(100, 3)
    stored = {"chunks": (8, 3), "compression": "gzip", **options}
    if stored["chunks"] is None:
        stored = {}
    path = write(tmp_path / "x.h5", column, **stored)
    with h5py.File(path) as file:
        assert inflating.Rows(file["x"]).chunks is None
    for found in read(path, np.float32):
        np.testing.assert_array_equal(found, column)


def test_chunks_never_written_are_what_hdf5_says(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "y.h5", "w") as file:
        item = file.create_dataset("x", (100,), "f4", chunks=(10,), compression="gzip", fillvalue=3)
        item[:20] = 1
    for found in read(tmp_path / "y.h5"):
        assert found.tolist() == [1] * 20 + [3] * 80


def test_chunks_stored_raw_are_left_to_hdf5(tmp_path: Path) -> None:
    column = np.arange(16, dtype=np.float32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        item = file.create_dataset("x", (16,), "f4", chunks=(8,), compression="gzip")
        item.id.write_direct_chunk((0,), zlib.compress(column[:8].tobytes()))
        item.id.write_direct_chunk((8,), column[8:].tobytes(), filter_mask=1)
    for found in read(tmp_path / "x.h5"):
        assert found.tolist() == column.tolist()


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 40,
        zlib.compress(b"too short"),
        zlib.compress(bytes(32))[:-6],
        zlib.compress(bytes(32))[:-1] + b"?",
        zlib.compress(bytes(33)),
    ],
)
def test_damage_is_told(tmp_path: Path, content: bytes) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        item = file.create_dataset("x", (16,), "f4", chunks=(8,), compression="gzip")
        item.id.write_direct_chunk((0,), zlib.compress(bytes(32)))
        item.id.write_direct_chunk((8,), content)
    with pytest.raises(FileFormatError, match=r"'/x' in .*x.h5 is damaged.*; fetch or write it again"):
        read(tmp_path / "x.h5")


@pytest.mark.usefixtures("_library")
@pytest.mark.parametrize("is_shift", [True, False])
def test_next_observations_in_many_blocks(tmp_path: Path, is_shift: bool) -> None:
    n = 400
    seen = np.random.default_rng(0).standard_normal((n, 3))  # float64, as in some files.
    ends = np.arange(n) % 50 == 49
    following = np.roll(seen, -1, axis=0) + ends[:, None]
    following[277, 1] += 0 if is_shift else 1e-3
    columns = {"observations": seen, "actions": seen[:, :1], "rewards": seen[:, 0], "terminals": np.zeros(n)}
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for name, column in {**columns, "timeouts": ends, "next_observations": following}.items():
            file.create_dataset(name, data=column, chunks=(16, *column.shape[1:]), compression="gzip")
    is_said = (
        nullcontext()
        if is_shift
        else pytest.warns(DatasetWarning, match="no episode ends, first at row 277, in")
    )
    with is_said:
        dataset, _ = get_dataset(tmp_path / "x.hdf5")
    assert (dataset.next_observations is None) == is_shift
    assert dataset.final_known.all()
    np.testing.assert_array_equal(dataset.final_observations, following[ends].astype(np.float32))
    np.testing.assert_array_equal(dataset.next_observations_at(np.arange(n)), following.astype(np.float32))

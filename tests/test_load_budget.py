"""Budgets of loads, by hand, and that no reader goes past them."""

from __future__ import annotations

import ast
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import offlinekit
from offlinekit import io, load_budget
from offlinekit.core import load_guard
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.formats import hdf5, inflating
from offlinekit.datasets.formats.arrow_sizes import unpacked_bytes
from offlinekit.errors import FileFormatError
from offlinekit.io import check_plain, read_small
from offlinekit.load_budget import Budget, apart, budget_of, budgeted


def test_bytes_so_far(tmp_path: Path) -> None:
    """limit = 100 + 3 * 10 = 130: 90 and 40 fit, one more does not; the file counts once."""
    (tmp_path / "x").write_bytes(bytes(10))
    budget = Budget(spare=100, factor=3).admit(tmp_path / "x").admit(tmp_path / "x")
    assert budget.limit == 130
    budget.check(130, "all")
    budget.take(90, "the first")
    budget.take(40, "the second")
    with pytest.raises(
        FileFormatError, match=r"the third would take 1 bytes beside 130, at most 130 are taken for"
    ):
        budget.take(1, "the third")
    with pytest.raises(FileFormatError, match="less than nothing would take -5 bytes"):
        budget.take(-5, "less than nothing")


def test_operations(tmp_path: Path) -> None:
    """40,000,000 + 4 * 5 = 40,000,020 steps."""
    (tmp_path / "x").write_bytes(bytes(5))
    budget = Budget().admit(tmp_path / "x")
    budget.work(40_000_000)
    budget.work(20)
    with pytest.raises(FileFormatError, match=r"takes more than 40,000,020 steps; .* pass max_bytes="):
        budget.work(1)


def test_operations_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 + 3 * 1 tensor = 5 operations, each of which gives one number."""
    monkeypatch.setattr(load_guard, "SPARE_CALLS", 2)
    monkeypatch.setattr(load_guard, "CALLS_PER_TENSOR", 3)
    tensor = torch.ones(1)
    with load_guard.Bounded({"bias": tensor}, Path("x")):
        for _ in range(5):
            tensor = tensor + 1.0
        with pytest.raises(FileFormatError, match="x describes networks that take more than 5 operations"):
            tensor + 1.0


def test_sizes_count_as_they_were_at_first(tmp_path: Path) -> None:
    """A file that grows while it is read, such as one that the reader itself is made to write, buys nothing."""
    (tmp_path / "x").write_bytes(bytes(10))
    budget = Budget(spare=0, factor=1).admit(tmp_path / "x")
    (tmp_path / "x").write_bytes(bytes(10_000))
    assert budget.admit(tmp_path / "x").limit == 10


@pytest.mark.parametrize("make", [torch.empty, torch.arange, lambda n: torch.ones(1).expand(n).clone()])
def test_networks_are_refused_before_they_are_made(make: Callable[[int], torch.Tensor]) -> None:
    """40 TB, which no allocator gives: its own error would come if it were called."""
    refused = pytest.raises(FileFormatError, match="the networks that it describes, larger than the tensors")
    with load_guard.Bounded({"bias": torch.ones(1)}, Path("x")), refused:
        make(10**13)


def read_chunk(path: Path, n_numbers: int, packed: bytes) -> list[float]:
    """Returns two numbers that lie in a chunk of so many, which holds any bytes."""
    with h5py.File(path, "w") as file:
        column = file.create_dataset(
            "x", (2,), "f8", chunks=(n_numbers,), maxshape=(None,), compression="gzip"
        )
        column.id.write_direct_chunk((0,), packed)
    with hdf5.open_hdf5(path) as file:
        return hdf5.read_array(file, "x").tolist()


def test_chunks_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk of 2^28 numbers takes 2 GiB, and one of 2 that inflates to 3 numbers is no chunk of 2."""
    with pytest.raises(FileFormatError, match=r"one part of 'x' .* would take 2,147,483,648 bytes"):
        read_chunk(tmp_path / "large.h5", 2**28, zlib.compress(bytes(16)))
    monkeypatch.setattr(inflating, "LARGE", 8)
    with pytest.raises(FileFormatError, match="inflates to more than 16 bytes"):
        read_chunk(tmp_path / "grows.h5", 2, zlib.compress(bytes(24)))
    assert read_chunk(tmp_path / "sound.h5", 2, zlib.compress(bytes(16))) == [0.0, 0.0]


def test_packed_buffers_of_arrow_claim_what_they_become() -> None:
    """1,000 numbers of 8 bytes, and as many truths of a bit that say which of them are there."""
    arrow, ipc = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.ipc")
    column = arrow.array(np.zeros(1000), mask=np.arange(1000) == 7)
    for compression, claimed in ((None, 0), ("zstd", 8 * 1000 + 1000 // 8)):
        sink = arrow.BufferOutputStream()
        options = ipc.IpcWriteOptions(compression=compression)
        table = arrow.table({"x": column})
        with ipc.new_stream(sink, table.schema, options=options) as out:
            out.write_table(table)
        assert unpacked_bytes(sink.getvalue()) == claimed


def test_what_has_no_end_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        for read in (check_plain, read_small, Budget().admit, get_dataset):
            with pytest.raises(FileFormatError, match="is a pipe, a socket or a device, expected a file"):
                read(tmp_path / name)
    check_plain(tmp_path / "nothing")
    check_plain(tmp_path)


def test_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(io, "LARGEST_TEXT", 10)
    (tmp_path / "x").write_bytes(bytes(10))
    assert read_small(tmp_path / "x") == bytes(10)
    (tmp_path / "x").write_bytes(bytes(11))
    with pytest.raises(FileFormatError, match="x is larger than 10 bytes"):
        read_small(tmp_path / "x")
    with pytest.raises(FileFormatError, match="is a folder, expected a file"):
        read_small(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "nothing")


def test_one_budget_a_load() -> None:
    with budgeted(1000) as load:
        assert budget_of() is load
        with budgeted(5) as inner:
            assert inner is load
        with apart():
            assert budget_of() is not load
            assert budget_of().limit == 1000
        assert budget_of() is load
    assert budget_of() is not load


def test_max_bytes_at_the_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two columns of 80 kB of zeros in a file of less than a kilobyte, where 10 kB may be taken."""
    rows = np.zeros((10_000, 1), np.float32)
    ends = np.arange(10_000) % 100 == 99
    dataset = MDPDataset(rows, rows, rows[:, 0], ends)
    path = dataset.save(tmp_path / "x.h5")
    np.savez_compressed(
        tmp_path / "x.npz", observations=rows, actions=rows, rewards=rows[:, 0], terminals=ends
    )
    monkeypatch.setattr(load_budget.Budget.__init__, "__kwdefaults__", {"spare": 10_000, "factor": 1})
    for file in (path, tmp_path / "x.npz"):
        with pytest.raises(FileFormatError, match="pass max_bytes="):
            get_dataset(file)
        assert len(get_dataset(file, max_bytes=1_000_000)[0]) == 10_000
        assert len(get_dataset(f"{file}?max_bytes=1000000")[0]) == 10_000
    with pytest.raises(FileFormatError, match="pass max_bytes="):
        MDPDataset.load(path)
    assert len(MDPDataset.load(path, max_bytes=1_000_000)) == 10_000
    with pytest.raises(TypeError, match="max_bytes"):
        get_dataset(path, max_bytes="many")


PACKAGE = Path(offlinekit.__file__).parent
UNPACKERS = {
    "h5py",
    "zipfile",
    "gzip",
    "zlib",
    "bz2",
    "lzma",
    "tarfile",
    "PIL",
    "cv2",
    "pyarrow",
    "lz4",
    "isal",
}


def imported(path: Path) -> set[str]:
    """Returns the packages that a file imports, also by `require`, but for those of its annotations."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if ast.unparse(node).partition("\n")[0] != "if TYPE_CHECKING:"]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "require" and node.args:
            found.add(str(ast.literal_eval(node.args[0])).split(".")[0])
    return found


def test_only_formats_unpack_and_all_of_them_by_a_budget() -> None:
    datasets = PACKAGE / "datasets"
    for path in sorted(datasets.rglob("*.py")):
        used = imported(path) & UNPACKERS
        if path.parent.name != "formats":
            assert not used, f"{path} unpacks by {used}; readers do it by datasets/formats"
        elif used and path.name not in ("hdf5_writing.py", "arrow_sizes.py"):
            text = path.read_text()
            assert "budget_of(" in text or "budgeted(" in text, f"{path} unpacks by {used} without a budget"

"""Headers of Parquet's pages: read as pyarrow writes them, and refused where they claim too much."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets.formats import arrow_sizes
from offlinekit.datasets.formats.arrow import read_parquet
from offlinekit.errors import FileFormatError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def written(path: Path, **options: Any) -> Path:
    rng = np.random.default_rng(0)
    columns = {
        "a": rng.normal(size=5000),
        "b": np.arange(5000) % 7,
        "t": np.array(["x", "yy"])[np.arange(5000) % 2],
        "v": pa.FixedSizeListArray.from_arrays(rng.normal(size=10_000), 2),
    }
    parquet.write_table(pa.table(columns), path, row_group_size=2000, data_page_size=4096, **options)
    return path


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
@pytest.mark.parametrize(
    "more", [{}, {"use_dictionary": False}, {"write_page_checksum": True}, {"write_page_index": True}]
)
def test_pages_of_every_kind(version: str, compression: str, more: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet", data_page_version=version, compression=compression, **more)
    facts = parquet.ParquetFile(path).metadata
    found = list(arrow_sizes.pages(path))
    chunks = [
        facts.row_group(i).column(j) for i in range(facts.num_row_groups) for j in range(facts.num_columns)
    ]
    # Each chunk's uncompressed size counts its pages and their headers, of 10 to 200 bytes.
    total = sum(chunk.total_uncompressed_size for chunk in chunks)
    assert 0 <= total - sum(page.unpacked for page in found) <= 200 * len(found)
    assert sum(page.n_values for page in found) >= sum(chunk.num_values for chunk in chunks)
    assert len(read_parquet(path)) == 5000


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def integer(value: int) -> bytes:
    return varint(value << 1)


def forged(path: Path, unpacked: int, n_values: int | None = None) -> Path:
    """A file of one column whose first page claims sizes; its header stays as long as it was."""
    # Texts of 60 bytes are the statistics, in whose place the larger numbers have room.
    parquet.write_table(pa.table({"x": ["k" * 60] * 100}), path, compression="none", use_dictionary=False)
    content = path.read_bytes()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=1) as mapped:
        header, end = arrow_sizes.Thrift(mapped, path).struct(4)
    held = header[5]
    assert isinstance(held, dict)
    inner = b"".join(
        bytes([0x15]) + integer(value) for value in (n_values or held[1], held[2], held[3], held[4])
    )
    made = b"\x15" + integer(0) + b"\x15" + integer(unpacked) + b"\x15" + integer(int(str(header[3])))
    made += b"\x2c" + inner + b"\x00"  # The data page is two fields further.
    pad = end - 4 - len(made) - 4
    made += (
        b"\xa8" + bytes([pad & 127 | 128, pad >> 7]) + bytes(pad) + b"\x00"
    )  # A text in a field that no reader has.
    assert len(made) == end - 4
    path.write_bytes(content[:4] + made + content[end:])
    return path


def test_a_forged_header_with_true_sizes_is_read(tmp_path: Path) -> None:
    path = forged(tmp_path / "x.parquet", unpacked=6400)
    assert read_parquet(path).column("x").to_pylist() == ["k" * 60] * 100


@pytest.mark.parametrize(("unpacked", "n_values"), [(2**31 - 1, None), (6400, 2**30)])
def test_lengths_that_lie_are_refused_before_they_are_believed(
    unpacked: int, n_values: Any, tmp_path: Path
) -> None:
    path = forged(tmp_path / "x.parquet", unpacked, n_values)
    with pytest.raises(FileFormatError, match=r"a page of .* would take [\d,]+ bytes beside"):
        read_parquet(path)


def test_damaged_headers_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "x.parquet")
    content = path.read_bytes()
    for junk in (b"\xff" * 40, b"\x15\x00\x15\x01", b"\x1c" * 40, b"\x19\xf5\x05", b"\x15" + b"\x80" * 20):
        path.write_bytes(content[:4] + junk + content[4 + len(junk) :])
        with pytest.raises(FileFormatError):
            read_parquet(path)

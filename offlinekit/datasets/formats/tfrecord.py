"""TFRecord files, compressed with gzip or not, read as a stream with every checksum checked.

A record is its length (u64), a masked CRC-32C of those eight bytes (u32), the payload, and a masked CRC-32C of
the payload (u32), little-endian throughout.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, TypeVar, cast

import numpy as np

from offlinekit.datasets.formats.crc32c import crc32c, crc32c_of
from offlinekit.datasets.formats.hdf5 import DEFLATE_LIMIT
from offlinekit.datasets.formats.protobuf import Feature, parse_example
from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

MOST_BYTES = 1 << 30
"""The longest record that is read."""
BATCH_BYTES = 1 << 19
"""Records are checked together once they have so many bytes."""
BATCH_RECORDS = 1 << 12
"""Or so many."""
HEADER = 12
RECORD_OPERATIONS = 16
"""Of the budget, for what a record costs beside its fields."""
Parsed = TypeVar("Parsed")


class Record(NamedTuple):
    """One record of a file."""

    number: int  # From 0.
    offset: int  # Where it begins in the file, unpacked.
    data: bytes


def read_records(path: Path) -> Iterator[Record]:
    """Yields the records of a file in order.

    Raises:
        FileFormatError: For a file that is no TFRecord, is truncated, or has a wrong checksum; names the
            record and where it begins.
    """
    most, budget = min(MOST_BYTES, path.stat().st_size * DEFLATE_LIMIT), budget_of(path)
    with _open(path) as stream:
        records: list[Record] = []
        sums: list[int] = []
        size = number = offset = 0
        while header := _read(stream, HEADER, path, number, offset):
            length = _length(header, path, number, offset, most)
            budget.check(3 * (size + length), f"record {number} of {path}")  # As read, checked and parsed.
            budget.work(RECORD_OPERATIONS)
            body = _read(stream, length + 4, path, number, offset + HEADER)
            if len(body) < length + 4:
                raise _damaged(path, number, offset, "the file ends within it; fetch it again")
            records.append(Record(number, offset, body[:length]))
            sums.append(int.from_bytes(body[length:], "little"))
            size, number, offset = size + length, number + 1, offset + HEADER + length + 4
            if size >= BATCH_BYTES or len(records) == BATCH_RECORDS:
                yield from _checked(records, sums, path)
                records, sums, size = [], [], 0
        yield from _checked(records, sums, path)


def read_parsed(path: Path, parse: Callable[[bytes], Parsed]) -> Iterator[tuple[Record, Parsed]]:
    """Yields each record with what `parse` makes of its payload.

    Raises:
        FileFormatError: As `read_records`; and what `parse` raises, with the record and its place.
    """
    for record in read_records(path):
        try:
            parsed = parse(record.data)
        except FileFormatError as error:
            raise _damaged(path, record.number, record.offset, str(error)) from error
        yield record, parsed


def read_examples(path: Path) -> Iterator[tuple[Record, dict[str, Feature]]]:
    """Yields each record with its features by name; `read_parsed` with `parse_example`."""
    return read_parsed(path, parse_example)


def write_records(path: Path, payloads: Iterable[bytes], *, packed: bool = True, level: int = 6) -> Path:
    """Writes payloads as a TFRecord file and returns its path.

    Args:
        path: Of the file.
        payloads: One a record.
        packed: Whether the file is compressed with gzip.
        level: Of the compression, 0 to 9.
    """
    with gzip.open(path, "wb", level) if packed else path.open("wb") as file:
        for payload in payloads:
            length = struct.pack("<Q", len(payload))
            sums = _masked(crc32c_of([length, payload])).astype("<u4")
            file.write(length + sums[:1].tobytes() + payload + sums[1:].tobytes())
    return path


def is_tfrecord(path: Path) -> bool:
    """Returns whether a file begins as a TFRecord, packed or not."""
    try:
        with _open(path) as stream:
            header = stream.read(HEADER)
    except (OSError, EOFError, zlib.error):
        return False
    return _header_fits(header)


def _open(path: Path) -> IO[bytes]:
    """Opens a file that may be packed; what begins as a plain record is not, whatever its first bytes."""
    with path.open("rb") as file:
        start = file.read(HEADER)
    if start[:2] == b"\x1f\x8b" and not _header_fits(start):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb", buffering=1 << 20)


def _header_fits(header: bytes) -> bool:
    expected = _masked(np.array([crc32c(header[:8])], np.uint32))[0]
    return len(header) == HEADER and int(expected) == int.from_bytes(header[8:], "little")


def _read(stream: IO[bytes], size: int, path: Path, number: int, offset: int) -> bytes:
    try:
        return stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, number, offset, f"it cannot be unpacked ({error}); fetch it again") from error


def _length(header: bytes, path: Path, number: int, offset: int, most: int) -> int:
    if len(header) < HEADER:
        raise _damaged(path, number, offset, f"{len(header)} bytes follow, expected a record or the end")
    if not _header_fits(header):
        hint = "fetch it again" if number else "is it a TFRecord?"
        raise _damaged(path, number, offset, f"the checksum of its length is wrong; {hint}")
    length: int = struct.unpack_from("<Q", header)[0]
    if length > most:
        raise _damaged(
            path, number, offset, f"it claims {length:,} bytes, at most {most:,} can follow; fetch it again"
        )
    return length


def _checked(records: list[Record], sums: list[int], path: Path) -> list[Record]:
    actual = _masked(crc32c_of([record.data for record in records]))
    wrong = np.flatnonzero(actual != np.array(sums, np.uint32))
    if len(wrong):
        record = records[int(wrong[0])]
        reason = "the checksum of its payload is wrong; fetch the file again"
        raise _damaged(path, record.number, record.offset, reason)
    return records


def _masked(sums: Array) -> Array:
    """Returns checksums, uint32 [M], as TFRecords hold them: turned right by 15 bits, plus a constant."""
    masked: Array = ((sums >> np.uint32(15)) | (sums << np.uint32(17))) + np.uint32(0xA282EAD8)
    return masked


def _damaged(path: Path, number: int, offset: int, reason: str) -> FileFormatError:
    return FileFormatError(f"{path}: record {number}, at byte {offset:,}: {reason}")

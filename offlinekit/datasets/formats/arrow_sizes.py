"""Sizes that files of Arrow claim, which pyarrow believes before it unpacks them: messages of IPC, pages of Parquet.

pyarrow makes room for what a packed buffer claims in its first eight bytes, or a page in its header, and reports it
afterwards. Parquet's footer is parsed here too: pyarrow ends the process on columns whose facts are damaged.
Sources: Arrow's Message.fbs; a table of FlatBuffers begins with the way back to the list of its fields' places.
https://github.com/apache/parquet-format, parquet.thrift (FileMetaData, PageHeader), in Thrift's compact protocol.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from offlinekit.errors import require
from offlinekit.load_budget import budget_of

HEADER_TYPE, HEADER = 1, 2
"""Fields of a Message."""
DICTIONARY, RECORDS = 2, 3
"""Types of its header."""
DATA = 1
"""Field of a DictionaryBatch: its RecordBatch."""
BUFFERS, COMPRESSION = 2, 3
"""Fields of a RecordBatch."""
BUFFER = struct.Struct("<qq")
"""Offset and length."""


def unpacked_bytes(messages: Any) -> int:
    """Returns the bytes that all packed buffers of a stream claim.

    Args:
        messages: A pyarrow Buffer of the stream.

    Raises:
        struct.error: For a message that is damaged.
    """
    ipc, arrow = require("pyarrow.ipc", "arrow"), require("pyarrow", "arrow")
    stream, total = arrow.BufferReader(messages), 0
    while True:
        try:
            message = ipc.read_message(stream)
        except EOFError:
            return total
        total += _claimed(bytes(message.metadata), memoryview(message.body or b""))


def _claimed(metadata: bytes, body: memoryview) -> int:
    root = struct.unpack_from("<I", metadata, 0)[0]
    kind, batch = _place(metadata, root, HEADER_TYPE), _table(metadata, root, HEADER)
    if not kind or not batch or metadata[kind] not in (DICTIONARY, RECORDS):
        return 0
    if metadata[kind] == DICTIONARY:
        batch = _table(metadata, batch, DATA)
    if not batch or not _place(metadata, batch, COMPRESSION):
        return 0
    buffers = _table(metadata, batch, BUFFERS)
    n_buffers = struct.unpack_from("<I", metadata, buffers)[0] if buffers else 0
    places = [BUFFER.unpack_from(metadata, buffers + 4 + i * BUFFER.size) for i in range(n_buffers)]
    return sum(_claim(body, offset) for offset, length in places if length)


def _claim(body: memoryview, offset: int) -> int:
    size: int = struct.unpack_from("<q", body, offset)[0]
    if size < -1:
        raise struct.error(f"a buffer claims {size} bytes")
    return max(size, 0)  # -1 stands for one that is not packed.


def _place(metadata: bytes, table: int, field: int) -> int:
    """Returns where a field of a table lies; 0 if the table lacks it."""
    listed = table - struct.unpack_from("<i", metadata, table)[0]
    if 4 + 2 * field >= struct.unpack_from("<H", metadata, listed)[0]:
        return 0
    offset: int = struct.unpack_from("<H", metadata, listed + 4 + 2 * field)[0]
    return table + offset if offset else 0


def _table(metadata: bytes, table: int, field: int) -> int:
    """Returns where the table or vector begins that a field points to; 0 if there is none."""
    place = _place(metadata, table, field)
    return place + int(struct.unpack_from("<I", metadata, place)[0]) if place else 0


Field: TypeAlias = "int | bytes | list[Field] | dict[int, Field]"
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)
ROW_GROUPS, COLUMNS, FACTS = 4, 1, 3
"""Fields of a file, of a group of rows, and of a column in it."""
PACKED_TOTAL, FIRST_PAGE, FIRST_DICTIONARY = 7, 9, 11
"""Fields of a column's facts: bytes of all pages as they lie in the file, and where they begin."""
UNPACKED, PACKED = 2, 3
"""Fields of a page's header: its bytes as it is used, and as it lies in the file."""
KINDS = (5, 7, 8)
"""Fields of what a page holds (data, dictionary, data of version 2), each with its number of values as field 1."""
DEEPEST = 16
NUMBER = 8
"""Bytes that the largest number takes."""
MAGIC = b"PAR1"


class Page(NamedTuple):
    """What a page says of itself."""

    unpacked: int
    n_values: int


def check_pages(path: Path) -> None:
    """Checks that no page is larger than the budget of the file, nor the values of all together.

    Raises:
        FileFormatError: For pages that claim too much.
        ValueError, IndexError, KeyError, TypeError, AttributeError: For damage.
    """
    budget, n_values = budget_of(path), 0
    for page in pages(path):
        n_values += page.n_values
        budget.check(max(page.unpacked, NUMBER * n_values), f"a page of {path}")


def pages(path: Path) -> Iterator[Page]:
    """Yields what the pages of all columns say of themselves."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content[-4:] != MAGIC:
            raise ValueError(f"it ends with {content[-4:]!r}")
        thrift = Thrift(content, path)
        facts, _ = thrift.struct(len(content) - 8 - int.from_bytes(content[-8:-4], "little"))
        for group in _listed(facts.get(ROW_GROUPS, [])):
            for column in _listed(group.get(COLUMNS, [])):
                held = _struct_in(column, FACTS)
                starts = [offset for name in (FIRST_DICTIONARY, FIRST_PAGE) if (offset := _size(held, name))]
                yield from _pages_in(thrift, min(starts), min(starts) + _size(held, PACKED_TOTAL))


def _pages_in(thrift: Thrift, start: int, end: int) -> Iterator[Page]:
    while start < end:
        header, start = thrift.struct(start)
        start += _size(header, PACKED)
        kind = next((field for field in KINDS if field in header), None)
        yield Page(_size(header, UNPACKED), 0 if kind is None else _size(_struct_in(header, kind), 1))


def _size(struct: dict[int, Field], field: int) -> int:
    size = struct.get(field, 0)
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"a size is {size!r:.50}")
    return size


def _struct_in(struct: dict[int, Field], field: int) -> dict[int, Field]:
    value = struct[field]
    if not isinstance(value, dict):
        raise TypeError(f"field {field} is {value!r:.50}")
    return value


def _listed(value: Field) -> list[dict[int, Field]]:
    if not isinstance(value, list):
        raise TypeError(f"a list is {value!r:.50}")
    return [each for each in value if isinstance(each, dict)]


class Thrift:
    """Bytes in Thrift's compact protocol.

    Args:
        content: All bytes of a file.
        path: Of the file, to whose budget steps are counted.
    """

    def __init__(self, content: mmap.mmap, path: Path) -> None:
        self.content, self.budget = content, budget_of(path)

    def struct(self, at: int, depth: int = 0) -> tuple[dict[int, Field], int]:
        """Returns a struct by the numbers of its fields, and where it ends."""
        fields: dict[int, Field] = {}
        number = 0
        while (head := self.content[at]) != 0:
            at, kind = at + 1, head & 15
            if head >> 4:
                number += head >> 4
            else:
                number, at = self.integer(at)
            fields[number], at = (kind, at) if kind in (TRUE, FALSE) else self.value(at, kind, depth)
        return fields, at + 1

    def value(self, at: int, kind: int, depth: int) -> tuple[Field, int]:
        """Returns a value, and where it ends."""
        self.budget.work(4)
        if kind in (I16, I32, I64):
            return self.integer(at)
        if kind in (TRUE, FALSE, BYTE):  # Of flags in lists, a byte each.
            return self.content[at], at + 1
        if kind == DOUBLE:
            return self.content[at : at + 8], at + 8
        if kind == BINARY:
            length, at = self.varint(at)
            return b"", at + length
        if depth < DEEPEST and kind == STRUCT:
            return self.struct(at, depth + 1)
        if depth < DEEPEST and kind in (LIST, SET):
            return self.list(at, depth + 1)
        raise ValueError(f"a field is of kind {kind}, {depth} deep")

    def list(self, at: int, depth: int) -> tuple[Field, int]:
        """Returns a list, and where it ends."""
        head, at = self.content[at], at + 1
        n, at = (head >> 4, at) if head >> 4 < 15 else self.varint(at)
        values: list[Field] = []
        for _ in range(n):
            value, at = self.value(at, head & 15, depth)
            values.append(value)
        return values, at

    def integer(self, at: int) -> tuple[int, int]:
        """Returns a whole number with its sign, and where it ends."""
        value, at = self.varint(at)
        return (value >> 1) ^ -(value & 1), at

    def varint(self, at: int) -> tuple[int, int]:
        """Returns a whole number without a sign, and where it ends."""
        value = 0
        for place in range(10):
            byte = self.content[at + place]
            value |= (byte & 127) << 7 * place
            if byte < 128:
                return value, at + place + 1
        raise ValueError("a number has no end")

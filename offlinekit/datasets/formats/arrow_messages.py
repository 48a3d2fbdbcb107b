"""Messages of Arrow's IPC format: how large their buffers say that they are once they are unpacked.

pyarrow makes room for what a packed buffer claims in its first eight bytes, and reports it afterwards.
Source: Arrow's Message.fbs; a table of FlatBuffers begins with the way back to the list of its fields' places.
"""

from __future__ import annotations

import struct
from typing import Any

from offlinekit.errors import require

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

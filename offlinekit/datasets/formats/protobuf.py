"""The wire format of protocol buffers, as far as recorded data need it, and `tf.train.Example`.

The caller gives the numbers of fields and their meaning; groups, which nothing here uses, are refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Feature: TypeAlias = "list[bytes] | Array"
"""A list of bytes, or a vector of float32 or of int64."""


FIELD_BYTES = 256
"""That a field takes while its message is read."""
BLOCK = 1 << 20
"""Packed bytes of numbers that are unpacked together, which takes forty times as many."""


class Field(NamedTuple):
    """One field of a message."""

    number: int
    wire: int  # VARINT, FIXED64, BYTES or FIXED32.
    value: int  # Of a varint; 0 for the others.
    start: int  # Where its content lies in the data.
    stop: int


def fields(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[Field]:
    """Yields the fields of a message that lies in data[start:stop], in the order written.

    Raises:
        FileFormatError: For bytes that are no message; says at which byte of the data.
    """
    at, end, n_fields, budget = start, len(data) if stop is None else stop, 0, budget_of()
    while at < end:
        n_fields += 1
        if not n_fields & 1023:
            budget.work(1024)
            budget.check(n_fields * FIELD_BYTES, "a message of so many fields")
        key, at = _varint(data, at, end)
        wire = key & 7
        if wire == VARINT:
            start = at
            value, at = _varint(data, at, end)
            yield Field(key >> 3, wire, value, start, at)
            continue
        if wire == BYTES:
            size, at = _varint(data, at, end)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise FileFormatError(f"byte {at} has wire type {wire}, expected 0, 1, 2 or 5")
        if size > end - at:
            raise FileFormatError(f"a field at byte {at} claims {size:,} bytes, but {end - at:,} are left")
        yield Field(key >> 3, wire, 0, at, at + size)
        at += size
    budget.work(n_fields & 1023)


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Returns the number that begins at byte `at`, and where it ends."""
    if at < end and data[at] < 0x80:  # Most have one byte.
        return data[at], at + 1
    value = shift = 0
    for i in range(at, min(at + 10, end)):
        value |= (data[i] & 0x7F) << shift
        if data[i] < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, i + 1
        shift += 7
    raise FileFormatError(f"the number at byte {at} does not end within {min(10, end - at)} bytes")


def as_signed(value: int) -> int:
    """Returns the int64 that an unsigned varint stands for."""
    return value - (1 << 64) if value >= 1 << 63 else value


def as_double(data: bytes, field: Field) -> float:
    """Returns the number of a FIXED64 or FIXED32 field: a double or a float.

    Raises:
        FileFormatError: For a field of another wire type.
    """
    if field.wire not in (FIXED64, FIXED32):
        raise FileFormatError(f"field {field.number} at byte {field.start} must be a float or a double")
    number: float = struct.unpack_from("<d" if field.wire == FIXED64 else "<f", data, field.start)[0]
    return number


def parse_example(data: bytes) -> dict[str, Feature]:
    """Returns the features of a serialised `tf.train.Example` by name.

    Lists of numbers may be packed or not. If a name comes twice, the last one holds.

    Raises:
        FileFormatError: For bytes that are no Example; says at which byte.
    """
    features: dict[str, Feature] = {}
    for outer in fields(data):
        if outer.number == 1 and outer.wire == BYTES:
            for entry in fields(data, outer.start, outer.stop):
                if entry.number == 1 and entry.wire == BYTES:
                    name, feature = _map_entry(data, entry)
                    features[name] = feature
    return features


def parse_sequence_example(data: bytes) -> tuple[dict[str, Feature], dict[str, list[Feature]]]:
    """Returns the context of a serialised `tf.train.SequenceExample`, and its lists of features, one a step, by name.

    Raises:
        FileFormatError: For bytes that are no SequenceExample; says at which byte.
    """
    lists: dict[str, list[Feature]] = {}
    for outer in fields(data):
        if outer.number == 2 and outer.wire == BYTES:
            for entry in fields(data, outer.start, outer.stop):
                name, content = _named(data, entry)
                steps = fields(data, content.start, content.stop)
                lists[name] = [_feature(data, step) for step in steps if step.number == 1]
    return parse_example(data), lists


def is_sequence_example(data: bytes) -> bool:
    """Returns whether a message has the lists of features of a SequenceExample, which an Example has not."""
    return any(field.number == 2 and field.wire == BYTES for field in fields(data))


def _map_entry(data: bytes, entry: Field) -> tuple[str, Feature]:
    name, feature = _named(data, entry)
    return name, _feature(data, feature)


def _named(data: bytes, entry: Field) -> tuple[str, Field]:
    """Returns the name of an entry of a map, and where its content lies; nowhere if it has none."""
    name, feature = "", Field(2, BYTES, 0, entry.stop, entry.stop)
    for field in fields(data, entry.start, entry.stop):
        if field.wire != BYTES:
            raise FileFormatError(f"a name or feature at byte {field.start} has wire type {field.wire}")
        if field.number == 1:
            try:
                name = data[field.start : field.stop].decode()
            except UnicodeDecodeError as error:
                raise FileFormatError(f"the name at byte {field.start} is not UTF-8 ({error})") from error
        elif field.number == 2:
            feature = field
    return name, feature


def _feature(data: bytes, feature: Field) -> Feature:
    values_of_feature: Feature = []
    for kind in fields(data, feature.start, feature.stop):
        if kind.wire != BYTES or kind.number not in (1, 2, 3):
            raise FileFormatError(f"the feature at byte {feature.start} is no list of bytes, floats or ints")
        values = [field for field in fields(data, kind.start, kind.stop) if field.number == 1]
        values_of_feature = (_bytes_list, _float_list, _int64_list)[kind.number - 1](data, values)
    return values_of_feature


def _bytes_list(data: bytes, values: list[Field]) -> list[bytes]:
    for field in values:
        if field.wire != BYTES:
            raise FileFormatError(f"an entry of a list of bytes at byte {field.start} is a number")
    return [data[field.start : field.stop] for field in values]


def _float_list(data: bytes, values: list[Field]) -> Array:
    for field in values:
        if field.wire not in (BYTES, FIXED32) or (field.stop - field.start) % 4:
            raise FileFormatError(f"the floats at byte {field.start} do not come in fours of bytes")
    parts = [np.frombuffer(data, "<f4", (f.stop - f.start) // 4, f.start) for f in values if f.stop > f.start]
    return np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)


def _int64_list(data: bytes, values: list[Field]) -> Array:
    parts = [
        unpack_varints(data, f.start, f.stop) if f.wire == BYTES else np.array([as_signed(f.value)])
        for f in values
        if f.wire in (BYTES, VARINT) or _not_an_integer(f)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _not_an_integer(field: Field) -> bool:
    raise FileFormatError(f"an entry of a list of integers at byte {field.start} has wire type {field.wire}")


def unpack_varints(data: bytes, start: int, stop: int) -> Array:
    """Returns the int64 numbers that are packed in data[start:stop].

    Raises:
        FileFormatError: For a number that does not end.
    """
    raw = np.frombuffer(data, np.uint8, stop - start, start)
    ends = np.flatnonzero(raw < 0x80)
    if len(ends) == len(raw):
        return raw.astype(np.int64)
    budget_of().check(8 * len(ends), "a list of numbers")
    if len(raw) > BLOCK and len(ends) > 1:
        middle = start + int(ends[len(ends) // 2 - 1]) + 1
        return np.concatenate([unpack_varints(data, start, middle), unpack_varints(data, middle, stop)])
    lengths = np.diff(ends, prepend=-1)
    if not len(ends) or ends[-1] != len(raw) - 1 or lengths.max() > 10:
        raise FileFormatError(f"a packed number after byte {start} does not end")
    places = np.arange(len(raw)) - np.repeat(ends - lengths + 1, lengths)
    bits = (raw & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.bitwise_or.reduceat(bits, ends - lengths + 1).view(np.int64)


def encode(*fields: tuple[int, int | float | np.float32 | bytes]) -> bytes:
    """Returns a message of fields (number, value): ints as varints, floats as doubles, np.float32 as floats."""
    return b"".join(_encode(number, value) for number, value in fields)


def _encode(number: int, value: int | float | np.float32 | bytes) -> bytes:
    if isinstance(value, bytes):
        return _encode_varint(number << 3 | BYTES) + _encode_varint(len(value)) + value
    if isinstance(value, int):
        return _encode_varint(number << 3 | VARINT) + _encode_varint(value)
    if isinstance(value, np.float32):
        return _encode_varint(number << 3 | FIXED32) + struct.pack("<f", value)
    return _encode_varint(number << 3 | FIXED64) + struct.pack("<d", value)


def _encode_varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def encode_example(features: Mapping[str, Sequence[bytes] | Array]) -> bytes:
    """Returns a `tf.train.Example`: arrays of floats or integers as packed lists, other sequences as bytes."""
    entries = [
        (1, encode((1, name.encode()), (2, _encode_feature(values)))) for name, values in features.items()
    ]
    return encode((1, encode(*entries)))


def _encode_feature(values: Sequence[bytes] | Array) -> bytes:
    if not isinstance(values, np.ndarray):
        return encode((1, encode(*((1, value) for value in values))))
    if values.dtype.kind == "f":
        return encode((2, encode((1, values.astype("<f4").tobytes()))))
    return encode((3, encode((1, b"".join(_encode_varint(int(value)) for value in values)))))

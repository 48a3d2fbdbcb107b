from __future__ import annotations

import contextlib

import numpy as np
import pytest

from offlinekit.datasets.formats.protobuf import as_signed, encode, encode_example, fields, parse_example
from offlinekit.errors import FileFormatError


def feature(kind: int, content: bytes) -> bytes:
    """An Example with the one feature "x", put together from bytes."""
    value = bytes([kind << 3 | 2, len(content)]) + content
    entry = b"\x0a\x01x\x12" + bytes([len(value)]) + value
    features = b"\x0a" + bytes([len(entry)]) + entry
    return b"\x0a" + bytes([len(features)]) + features


def test_lists_packed_and_not() -> None:
    assert parse_example(feature(1, b"\x0a\x02ab\x0a\x00"))["x"] == [b"ab", b""]
    packed = parse_example(feature(2, b"\x0a\x08\x00\x00\x80\x3f\x00\x00\x00\xc0"))["x"]
    alone = parse_example(feature(2, b"\x0d\x00\x00\x80\x3f\x0d\x00\x00\x00\xc0"))["x"]
    for floats in (packed, alone):
        assert isinstance(floats, np.ndarray)
        assert (floats.dtype, floats.tolist()) == (np.float32, [1.0, -2.0])
    # 300 is AC 02; -1 is ten bytes.
    minus = b"\xff" * 9 + b"\x01"
    packed = parse_example(feature(3, b"\x0a\x0d\x05\xac\x02" + minus))["x"]
    alone = parse_example(feature(3, b"\x08\x05\x08\xac\x02\x08" + minus))["x"]
    for integers in (packed, alone):
        assert isinstance(integers, np.ndarray)
        assert (integers.dtype, integers.tolist()) == (np.int64, [5, 300, -1])


def test_empty_features() -> None:
    assert parse_example(b"") == {}
    assert parse_example(feature(1, b""))["x"] == []
    assert len(parse_example(feature(2, b""))["x"]) == 0
    assert len(parse_example(feature(3, b"\x0a\x00"))["x"]) == 0


def test_unknown_fields_are_passed_over() -> None:
    data = b"\x10\x07" + feature(3, b"\x0a\x01\x05") + b"\x1d\x00\x00\x00\x00"
    assert np.asarray(parse_example(data)["x"]).tolist() == [5]


def test_what_is_written_is_read() -> None:
    rng = np.random.default_rng(0)
    written = {
        "png": [b"one", b"", bytes(300)],
        "reward": rng.normal(size=200).astype(np.float32),
        "action": np.array([0, 127, 128, -5, 2**62, -(2**63)]),
    }
    read = parse_example(encode_example(written))
    assert read["png"] == written["png"]
    np.testing.assert_array_equal(np.asarray(read["reward"]), written["reward"])
    np.testing.assert_array_equal(np.asarray(read["action"]), written["action"])


def test_fields_of_each_wire_type() -> None:
    data = encode((1, 300), (2, 1.5), (3, b"abc"), (20, np.float32(2.5)))
    assert [(f.number, f.wire) for f in fields(data)] == [(1, 0), (2, 1), (3, 2), (20, 5)]
    assert next(fields(data)).value == 300
    assert as_signed(next(fields(encode((1, -3)))).value) == -3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a", "the number at byte 1 does not end"),
        (b"\x0a\x05ab", "a field at byte 2 claims 5 bytes, but 2 are left"),
        (b"\x0a\xff\xff\xff\xff\x0fab", "claims 4,294,967,295 bytes"),
        (b"\xff" * 11, "the number at byte 0 does not end within 10"),
        (b"\x0b\x00", "byte 1 has wire type 3"),
        (b"\x09abc", "claims 8 bytes"),
        (feature(1, b"\x08\x01"), "a list of bytes at byte 12 is a number"),
        (feature(2, b"\x0a\x03abc"), "do not come in fours"),
        (feature(3, b"\x0a\x01\x80"), "a packed number after byte 13 does not end"),
        (feature(3, b"\x0a\x0b" + b"\x80" * 10 + b"\x01"), "does not end"),
        (feature(3, b"\x0d\x00\x00\x00\x00"), "list of integers at byte 12 has wire type 5"),
        (feature(4, b""), "is no list of bytes, floats or ints"),
        (b"\x0a\x06\x0a\x04\x0a\x02\xff\xfe", "is not UTF-8"),
        (b"\x0a\x04\x0a\x02\x08\x01", "has wire type 0"),
    ],
)
def test_malformed(data: bytes, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        parse_example(data)


def test_any_damage_is_an_error_or_other_values() -> None:
    whole = encode_example({"a": np.arange(40), "b": [b"x" * 30], "c": np.ones(9, np.float32)})
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        with contextlib.suppress(FileFormatError):
            parse_example(bytes(damaged[: rng.integers(1, len(whole) + 1)]))

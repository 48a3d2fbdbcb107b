from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from offlinekit.datasets.formats import tfrecord
from offlinekit.datasets.formats.crc32c import crc32c
from offlinekit.datasets.formats.tfrecord import is_tfrecord, read_examples, read_records, write_records
from offlinekit.errors import FileFormatError

RealData = Callable[[str], Path]
PAYLOADS = [b"first", b"", bytes(range(256)) * 5]


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


WHOLE = b"".join(framed(payload) for payload in PAYLOADS)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_framing(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(pack(WHOLE))
    assert is_tfrecord(path)
    assert [(r.number, r.offset, r.data) for r in read_records(path)] == [
        (0, 0, PAYLOADS[0]),
        (1, 21, PAYLOADS[1]),
        (2, 37, PAYLOADS[2]),
    ]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(gzip.compress(b""))
    assert list(read_records(path)) == []
    assert not is_tfrecord(path)


def test_a_plain_record_that_begins_as_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    payload = bytes(0x088B1F)
    path.write_bytes(framed(payload))
    assert path.read_bytes()[:3] == b"\x1f\x8b\x08"
    assert [record.data for record in read_records(path)] == [payload]


@pytest.mark.parametrize("packed", [True, False])
def test_what_is_written_is_read(tmp_path: Path, packed: bool) -> None:
    path = write_records(tmp_path / "x.tfrecord", PAYLOADS, packed=packed)
    assert (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()) == WHOLE
    assert [record.data for record in read_records(path)] == PAYLOADS


def change(at: int) -> bytes:
    return WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no TFRecord at all", "record 0, at byte 0: the checksum of its length is wrong; is it a TFRecord"),
        (WHOLE[:5], "record 0, at byte 0: 5 bytes follow"),
        (WHOLE[:30], "record 1, at byte 21: 9 bytes follow"),
        (WHOLE[:-1], "record 2, at byte 37: the file ends within it"),
        (change(14), "record 0, at byte 0: the checksum of its payload is wrong"),
        (change(60), "record 2, at byte 37: the checksum of its payload is wrong"),
        (change(37), "record 2, at byte 37: the checksum of its length is wrong; fetch it again"),
        (gzip.compress(WHOLE)[:-20], "it cannot be unpacked"),
        (gzip.compress(WHOLE) + b"more", "it cannot be unpacked"),
    ],
)
def test_damage_names_record_and_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        list(read_records(path))


def test_a_length_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    length = struct.pack("<Q", tfrecord.MOST_BYTES + 1)
    path.write_bytes(length + masked(length))
    with pytest.raises(FileFormatError, match="claims 1,073,741,825 bytes"):
        list(read_records(path))


def test_records_come_before_the_file_is_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfrecord, "BATCH_BYTES", 1000)
    path = tmp_path / "x.tfrecord"
    path.write_bytes(framed(bytes(2000)) + b"damage")
    records = read_records(path)
    assert len(next(records).data) == 2000
    with pytest.raises(FileFormatError, match="record 1, at byte 2,016"):
        next(records)


def test_a_bad_example_names_its_record(tmp_path: Path) -> None:
    path = write_records(tmp_path / "x.tfrecord", [b"", b"\x0a\x05ab"])
    with pytest.raises(FileFormatError, match=r"record 1, at byte 16: a field at byte 2 claims 5 bytes"):
        list(read_examples(path))


def test_a_recorded_file(real_data: RealData) -> None:
    path = real_data("rl_unplugged/rlu_control_suite_cartpole_swingup.tfrecord")
    [(record, features)] = list(read_examples(path))
    assert (record.number, record.offset) == (0, 0)
    assert {name: len(values) for name, values in features.items()} == {
        "action": 1001,
        "discount": 1001,
        "episode_id": 1,
        "observation/position": 3003,
        "observation/velocity": 2002,
        "reward": 1001,
        "step_type": 1001,
        "timestamp": 1,
    }

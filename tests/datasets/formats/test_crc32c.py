from __future__ import annotations

import numpy as np
import pytest

from offlinekit.datasets.formats.crc32c import AT_ONCE, BLOCK, BLOCKS_AT_ONCE, crc32c, crc32c_of

# Vectors of RFC 3720, appendix B.4, and of Castagnoli's polynomial in common use.
KNOWN = {
    b"": 0x00000000,
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    bytes([0xFF] * 32): 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
}


@pytest.mark.parametrize(("message", "expected"), KNOWN.items())
def test_known_vectors(message: bytes, expected: int) -> None:
    assert crc32c(message) == expected
    assert crc32c_of([message]).tolist() == [expected]


def test_many_at_once_are_those_byte_by_byte() -> None:
    rng = np.random.default_rng(0)
    sizes = [0, 1, 3, 4, 5, BLOCK - 1, BLOCK, BLOCK + 1, 7 * BLOCK + 9, AT_ONCE, AT_ONCE + 1]
    messages = [rng.bytes(size) for size in sizes]
    assert crc32c_of(messages).tolist() == [crc32c(message) for message in messages]
    assert crc32c_of([]).tolist() == []


def test_more_blocks_than_are_summed_at_once() -> None:
    message = np.random.default_rng(1).bytes(BLOCK * BLOCKS_AT_ONCE + 100)
    assert crc32c_of([message]).tolist() == [crc32c(message)]

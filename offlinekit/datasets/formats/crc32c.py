"""CRC-32C (Castagnoli) of many byte strings at once, by tables and numpy.

The checksum is linear over GF(2): the register after a message is the xor of what each of its bytes leaves
there. A message is cut into blocks; a table of byte values at each place gives every byte's part, and registers
of neighbouring blocks are joined in pairs, the left one moved past the bytes of the right one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from offlinekit.types import Array

POLYNOMIAL = 0x82F63B78  # Reversed.
BLOCK = 256
BLOCKS_AT_ONCE = 1024
AT_ONCE = 1 << 16
"""Messages longer than this are summed alone."""


@functools.cache
def byte_table() -> Array:
    """Returns the register after each single byte, uint32 [256]."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> 1) ^ np.where(table & 1, np.uint32(POLYNOMIAL), np.uint32(0))
    return table


@functools.cache
def _place_table() -> Array:
    """Returns the register after a byte and the rest of its block in zeros, uint32 [BLOCK * 256]."""
    table = byte_table()
    places = np.empty((BLOCK, 256), np.uint32)
    places[-1] = table
    for place in range(BLOCK - 2, -1, -1):
        places[place] = (places[place + 1] >> 8) ^ table[places[place + 1] & 0xFF]
    return places.reshape(-1)


@functools.cache
def _shift_table(level: int) -> Array:
    """Returns what moves a register past 2**level blocks of zeros, for each of its four bytes [4, 256]."""
    if level == 0:
        values = np.arange(256, dtype=np.uint32)
        moved = np.stack([values << (8 * byte) for byte in range(4)])
        for _ in range(BLOCK):
            moved = (moved >> 8) ^ byte_table()[moved & 0xFF]
        return moved
    return _shift(_shift_table(level - 1), level - 1)


def _shift(registers: Array, level: int) -> Array:
    table = _shift_table(level)
    moved: Array = table[0][registers & 0xFF]
    for byte in range(1, 4):
        moved ^= table[byte][(registers >> (8 * byte)) & 0xFF]
    return moved


def crc32c(message: bytes) -> int:
    """Returns the checksum of one short message, byte by byte; `crc32c_of` is faster for long ones."""
    table, register = _byte_list(), 0xFFFFFFFF
    for byte in message:
        register = (register >> 8) ^ table[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


@functools.cache
def _byte_list() -> list[int]:
    return [int(value) for value in byte_table()]


def crc32c_of(messages: Sequence[bytes]) -> Array:
    """Returns the checksum of each message, uint32 [M]."""
    sums = np.zeros(len(messages), np.uint32)
    small = [i for i, message in enumerate(messages) if 4 <= len(message) <= AT_ONCE]
    if small:
        sums[small] = _sum_together([messages[i] for i in small])
    for i, message in enumerate(messages):
        if len(message) < 4:
            sums[i] = crc32c(message)
        elif len(message) > AT_ONCE:
            sums[i] = _sum_together([message])[0]
    return sums


def _sum_together(messages: Sequence[bytes]) -> Array:
    """Returns the checksums of messages of at least four bytes, each laid out to end with a block."""
    n_blocks = np.array([-(-len(message) // BLOCK) for message in messages])
    ends = np.cumsum(n_blocks) * BLOCK
    laid = np.zeros(int(ends[-1]), np.uint8)
    for message, end in zip(messages, ends.tolist(), strict=True):
        laid[end - len(message) : end] = np.frombuffer(message, np.uint8)
        laid[end - len(message) : end - len(message) + 4] ^= 0xFF  # The register begins as ones.
    blocks = np.concatenate([_sum_blocks(part) for part in _parts(laid.reshape(-1, BLOCK))])
    width = 1 << int(n_blocks.max() - 1).bit_length()
    registers = np.zeros((len(messages), width), np.uint32)
    registers[np.arange(width) >= (width - n_blocks)[:, None]] = blocks
    level = 0
    while registers.shape[1] > 1:
        registers = _shift(registers[:, 0::2], level) ^ registers[:, 1::2]
        level += 1
    sums: Array = registers[:, 0] ^ np.uint32(0xFFFFFFFF)
    return sums


def _parts(blocks: Array) -> Iterator[Array]:
    """Yields a few blocks at a time, so that what is made of them stays in the cache."""
    return (blocks[i : i + BLOCKS_AT_ONCE] for i in range(0, len(blocks), BLOCKS_AT_ONCE))


def _sum_blocks(blocks: Array) -> Array:
    index = blocks + np.arange(BLOCK, dtype=np.intp) * 256
    sums: Array = np.bitwise_xor.reduce(_place_table().take(index), axis=1)
    return sums

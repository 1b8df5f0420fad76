"""The lanes against the definition, one bit at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnverify.containers.crc32c import crc32c, masked_crc32c


def bit_by_bit(data: bytes) -> int:
    state = 0xFFFFFFFF
    for octet in data:
        state ^= octet
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # RFC 3720, B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@given(st.integers(0, 6000), st.integers(0, 2**32 - 1))
def test_lanes_agree_with_the_definition(size: int, seed: int) -> None:
    data = np.random.default_rng(seed).bytes(size)
    assert crc32c(data) == bit_by_bit(data)


def test_more_lanes_than_one_batch() -> None:
    data = np.random.default_rng(0).integers(0, 256, 5 << 20, dtype=np.uint8)
    half = data.size // 2
    changed = data.copy()
    changed[half] ^= 1
    assert crc32c(data) != crc32c(changed)
    assert crc32c(data) == crc32c(memoryview(data.tobytes()))


def test_mask() -> None:
    crc = crc32c(b"foo")
    assert masked_crc32c(b"foo") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF != crc

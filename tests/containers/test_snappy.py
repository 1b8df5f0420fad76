"""Snappy streams: whatever is written is read back, and what is not one is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tf_files import varint

from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.snappy import decompress

LIMIT = 1 << 16


def literal(data: bytes) -> bytes:
    n = len(data) - 1
    if n < 60:
        return bytes([n << 2]) + data
    width = (n.bit_length() + 7) // 8
    return bytes([(59 + width) << 2]) + n.to_bytes(width, "little") + data


def copy(offset: int, length: int, width: int) -> bytes:
    if width == 1:
        return bytes([1 | (length - 4) << 2 | offset >> 8 << 5, offset & 0xFF])
    return bytes([(2 if width == 2 else 3) | (length - 1) << 2]) + offset.to_bytes(width, "little")


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A stream and what it stands for, byte by byte."""
    body, out = b"", bytearray()
    for _ in range(draw(st.integers(0, 8))):
        if not out or draw(st.booleans()):
            data = draw(st.binary(min_size=1, max_size=300))
            body, out = body + literal(data), out + data
            continue
        width = draw(st.sampled_from([1, 2, 4]))
        length = draw(st.integers(4, 11) if width == 1 else st.integers(1, 64))
        offset = draw(st.integers(1, min(len(out), 2047)))
        body += copy(offset, length, width)
        for _ in range(length):
            out.append(out[-offset])
    return varint(len(out)) + body, bytes(out)


@given(streams())
def test_a_stream_is_what_it_stands_for(pair: tuple[bytes, bytes]) -> None:
    assert decompress(memoryview(pair[0]), LIMIT) == pair[1]


@given(st.binary(max_size=60))
def test_anything_else_is_refused_and_stays_small(data: bytes) -> None:
    try:
        assert len(decompress(memoryview(data), 1000)) <= 1000
    except MalformedError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (varint(LIMIT + 1), "announces 65537 bytes"),
        (varint(3) + literal(b"ab"), "other than the 3 bytes"),
        (varint(1) + literal(b"ab"), "other than the 1 bytes"),
        (varint(9) + literal(b"ab")[:-1], "a literal .* cut off"),
        (varint(9) + bytes([63 << 2, 1]), "a literal .* cut off"),
        (varint(9) + literal(b"ab") + copy(3, 4, 2), "begins before it"),
        (varint(9) + literal(b"ab") + copy(0, 4, 2), "begins before it"),
        (varint(9) + literal(b"ab") + copy(1, 4, 4)[:-1], "a copy .* cut off"),
        (b"", "cut off"),
    ],
)
def test_damaged_streams_are_refused(stream: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        decompress(memoryview(stream), LIMIT)

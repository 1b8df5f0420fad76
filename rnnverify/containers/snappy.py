"""Snappy decompression (google/snappy, format_description.txt), as much as a block of a table needs.

A stream is a varint with the length of what it stands for, then literals and copies of what was already written. The
two low bits of a tag say which: 0 a literal, 1 to 3 a copy whose offset takes one, two or four octets.
"""

from __future__ import annotations

from rnnverify.containers.protobuf import MalformedError, read_varint


def decompress(data: memoryview, limit: int) -> bytes:
    """What the stream `data` stands for, at most `limit` bytes. Raises `MalformedError`."""
    size, at = read_varint(data, 0)
    if size > limit:
        raise MalformedError(f"a compressed block announces {size} bytes, more than the {limit} that one may have")
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 3 == 0:
            length, at = _literal_length(data, tag >> 2, at)
            if length > len(data) - at:
                raise MalformedError("a literal of a compressed block is cut off")
            out += data[at : at + length]
            at += length
        else:
            width = (1, 2, 4)[(tag & 3) - 1]
            if width > len(data) - at:
                raise MalformedError("a copy of a compressed block is cut off")
            offset = int.from_bytes(data[at : at + width], "little")
            at += width
            length = (tag >> 2) + 1
            if width == 1:  # 3 bits of length, and 3 more of the offset
                offset, length = (tag >> 5) << 8 | offset, (tag >> 2 & 7) + 4
            if not 0 < offset <= len(out):
                raise MalformedError("a copy of a compressed block begins before it")
            start = len(out) - offset
            period = bytes(out[start : start + length])  # shorter than the copy where it overlaps what it writes
            out += (period * (length // len(period) + 1))[:length]
        if len(out) > size:
            break
    if len(out) != size:
        raise MalformedError(f"a compressed block has other than the {size} bytes that it announces")
    return bytes(out)


def _literal_length(data: memoryview, code: int, at: int) -> tuple[int, int]:
    """The length of a literal: `code` + 1, or from 60 on in the next 1 to 4 octets."""
    if code < 60:
        return code + 1, at
    width = code - 59
    if width > len(data) - at:
        raise MalformedError("a literal of a compressed block is cut off")
    return int.from_bytes(data[at : at + width], "little") + 1, at + width

"""How long the texts are that an HDF5 object's attributes announce, read before the HDF5 library makes room for them.

A text of variable length is kept in an attribute as its length, the place of a heap, and a number in it. HDF5 up to
1.14.6 takes memory for the length first and looks into the heap afterwards (H5Tconv_vlen.c): a few bytes would take
gigabytes. Layouts: HDF5 File Format Specification 3.0, IV.A (object headers, version 1 and 2), IV.A.2.m (attributes).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

Data = bytes | mmap.mmap
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x15
_SHARED = 2  # flag of a message that stands elsewhere
_VARIABLE_LENGTH = 9
_MOST_CHUNKS = 1000  # of one object header


class Superblock(NamedTuple):
    """What the start of a file says about its numbers."""

    base: int  # where addresses count from
    offset_size: int  # bytes of an address
    length_size: int  # bytes of a length


def superblock(data: Data) -> Superblock:
    """The one that the library would take: at 0, 512, 1024, 2048, ...; numbers of 8 bytes where there is none."""
    at = 0
    while at + 16 <= len(data):
        if data[at : at + 8] == _SIGNATURE:
            first = at + (13 if data[at + 8] < 2 else 9)
            sizes = [size if size in (2, 4, 8, 16, 32) else 8 for size in data[first : first + 2]]
            return Superblock(at, *sizes)
        at = max(512, 2 * at)
    return Superblock(0, 8, 8)


def announced(data: Data, address: int) -> int:
    """The bytes that all texts of variable length in the attributes of the object at `address` come to.

    -1 where the object keeps attributes, or their types, outside of its header, as none that Keras writes does. What
    does not parse is not counted: the library refuses it.
    """
    sizes, total = superblock(data), 0
    for kind, flags, message in _messages(data, address + sizes.base, sizes):
        if kind == _ATTRIBUTE and (flags & _SHARED or message[1:2] > b"\0"):
            return -1
        if kind == _ATTRIBUTE:
            total += _texts(message, sizes.offset_size)
        elif kind == _ATTRIBUTE_INFO and len(message) > 1:
            heap = message[2 + 2 * (message[1] & 1) :][: sizes.offset_size]
            if heap.strip(b"\xff"):
                return -1
    return total


def _messages(data: Data, at: int, sizes: Superblock) -> Iterator[tuple[int, int, bytes]]:
    """Every message of the object header at `at`: its type, its flags, and its data."""
    if at + 64 > len(data):  # no room for a header with a message
        return
    newer = data[at : at + 4] == b"OHDR"
    if newer:
        flags = data[at + 5]
        start = at + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
        width = 1 << (flags & 3)
        head = 4 + 2 * bool(flags & 4)
        chunks = [(start + width, _number(data[start : start + width]))]
    else:
        head = 8
        chunks = [(at + 16, _number(data[at + 8 : at + 12]))]
    for place, size in chunks:  # which grows while it is walked
        end = min(place + size, len(data))
        while place + head <= end:
            kind = data[place] if newer else _number(data[place : place + 2])
            length = _number(data[place + 1 : place + 3] if newer else data[place + 2 : place + 4])
            message = data[place + head : min(place + head + length, end)]
            yield kind, data[place + (3 if newer else 4)], message
            if kind == _CONTINUATION and len(chunks) < _MOST_CHUNKS:
                further = sizes.base + _number(message[: sizes.offset_size])
                room = _number(message[sizes.offset_size :][: sizes.length_size])
                chunks.append((further + 4, room - 8) if newer else (further, room))  # OCHK before, checksum behind
            place += head + length


def _texts(message: bytes, offset_size: int) -> int:
    """What the elements of one attribute message announce; 0 where they are of fixed size."""
    if len(message) < 9 or message[0] not in (1, 2, 3):
        return 0
    version, sizes = message[0], [_number(message[k : k + 2]) for k in (2, 4, 6)]  # of name, datatype, dataspace
    padded = [(size + 7) // 8 * 8 if version == 1 else size for size in sizes]
    kind = (9 if version == 3 else 8) + padded[0]
    space = kind + padded[1]
    values = message[space + padded[2] :]
    if len(message) <= kind or message[kind] & 0x0F != _VARIABLE_LENGTH:
        return 0
    width = 8 + offset_size
    return sum(_number(values[k : k + 4]) for k in range(0, len(values) - width + 1, width))


def _number(raw: bytes) -> int:
    return int.from_bytes(raw, "little")

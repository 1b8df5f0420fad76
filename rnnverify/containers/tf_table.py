"""The sorted string table of TensorFlow checkpoints: LevelDB's, with a magic number of its own.

Layout (tensorflow/core/lib/io/format.cc and block.cc, TensorFlow 0.12 to 2.21): blocks of entries, an index
block whose values are the places of those blocks, and a footer of 48 bytes with the place of the index block.
An entry is three varints (bytes shared with the key before, further bytes of the key, bytes of the value),
then key and value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rnnverify.containers.crc32c import masked_crc32c
from rnnverify.containers.protobuf import MalformedError, read_varint
from rnnverify.containers.snappy import decompress
from rnnverify.errors import FileError, UnsupportedError

_MAGIC = 0xDB4775248B80FB57.to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5  # compression type, masked crc32c of contents and type
_SNAPPY = 1
_SNAPPY_AT_MOST = 32  # bytes for each stored one: a copy of 64 takes three
_LONGEST_KEY = 1 << 12  # keys share beginnings, so a small file could otherwise stand for gigabytes of them
_ALL_KEYS = 1 << 28

Entry = tuple[bytes, memoryview]


class _Place(NamedTuple):
    offset: int
    size: int


def is_table(path: Path) -> bool:
    """Whether the regular file `path` ends as a table does."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_MAGIC)))
        return file.read(len(_MAGIC)) == _MAGIC


class Table:
    """The table in the file `path`. Blocks are read and checked when they are asked for.

    Every method raises `FileError` where the file is cut off or damaged, `UnsupportedError` for a block that is
    compressed otherwise than by Snappy.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        if self._size == 0:
            raise FileError(path, "the file is empty", "save or copy the checkpoint again")
        if self._size < _FOOTER or not is_table(path):
            raise self._damaged("it does not end with a table's footer, so it is cut off or something else")
        with path.open("rb") as file:
            file.seek(self._size - _FOOTER)
            footer = file.read(_FOOTER)
        try:
            _, at = _read_place(footer, 0)  # of the metaindex block, which TensorFlow leaves empty
            index, _ = _read_place(footer, at)
        except MalformedError as error:
            raise self._damaged(f"in its footer {error}") from error
        self._blocks = self._places(index)

    def items(self) -> Iterator[Entry]:
        """Every entry, in the order of keys."""
        last, total = None, 0
        for _, place in self._blocks:
            for key, value in self._entries(place):
                total += len(key)
                if (last is not None and key <= last) or total > _ALL_KEYS:
                    raise self._damaged("its keys are out of order or too long")
                last = key
                yield key, value

    def get(self, key: bytes) -> memoryview | None:
        """The value under `key`, or None."""
        for separator, place in self._blocks:
            if separator >= key:
                return next((value for found, value in self._entries(place) if found == key), None)
        return None

    def _places(self, index: _Place) -> list[tuple[bytes, _Place]]:
        """The data blocks, each with a key between its own keys and those of the next one."""
        places: list[tuple[bytes, _Place]] = []
        end = 0
        for separator, value in self._entries(index):
            try:
                place, _ = _read_place(value, 0)
            except MalformedError as error:
                raise self._damaged(f"in its index {error}") from error
            if place.offset < end or (places and separator <= places[-1][0]):
                raise self._damaged("its blocks overlap or are out of order")
            end = place.offset + place.size + _TRAILER
            places.append((separator, place))
        return places

    def _entries(self, place: _Place) -> Iterator[Entry]:
        try:
            yield from _block_entries(self._block(place))
        except MalformedError as error:
            raise self._damaged(f"in a block {error}") from error

    def _block(self, place: _Place) -> memoryview:
        if place.offset + place.size + _TRAILER > self._size - _FOOTER:
            raise self._damaged(f"a block of {place.size} bytes at {place.offset} lies beyond its {self._size} bytes")
        try:
            with self._path.open("rb") as file:
                file.seek(place.offset)
                block = memoryview(file.read(place.size + _TRAILER))
        except OSError as error:
            raise FileError(self._path, f"it cannot be read: {error.strerror}") from error
        if len(block) != place.size + _TRAILER:
            raise self._damaged("it became shorter while it was read")
        compression, stored = struct.unpack("<BI", block[place.size :])
        if masked_crc32c(block[: place.size + 1]) != stored:
            raise self._damaged(f"the checksum of the block at {place.offset} is wrong")
        if compression == _SNAPPY:
            return memoryview(decompress(block[: place.size], _SNAPPY_AT_MOST * place.size))
        if compression:
            raise UnsupportedError(
                self._path,
                f"its table is compressed (type {compression}), which this version does not read",
                "restore the checkpoint in TensorFlow and save it again with tf.compat.v1.train.Saver",
            )
        return block[: place.size]

    def _damaged(self, found: str) -> FileError:
        return FileError(self._path, f"a damaged checkpoint table: {found}", "save or copy the checkpoint again")


def _read_place(data: memoryview | bytes, at: int) -> tuple[_Place, int]:
    offset, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return _Place(offset, size), at


def _block_entries(block: memoryview) -> Iterator[Entry]:
    """The entries of a block: they end where its list of restart points begins, the list's length is its last
    word.
    """
    if len(block) < 4:
        raise MalformedError("the list of restart points is missing")
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    if end < 0:
        raise MalformedError("the list of restart points is longer than the block")
    at, key = 0, b""
    while at < end:
        shared, at = read_varint(block, at)
        further, at = read_varint(block, at)
        size, at = read_varint(block, at)
        if shared > len(key) or shared + further > _LONGEST_KEY or further + size > end - at:
            raise MalformedError("an entry is longer than what is left for it")
        key = key[:shared] + bytes(block[at : at + further])
        yield key, block[at + further : at + further + size]
        at += further + size

"""Stretches of raw numbers inside a file: bytes at an offset, and bytes to a NumPy array of a stated dtype."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.errors import FileError

_MAPPED = 16 << 20  # a longer span is mapped instead of read: weights of gigabytes then cost address space only

_NUMPY = {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": "u2",
    "int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1",
    "uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1", "bool": "?",
}  # fmt: skip


def itemsize(dtype: str) -> int | None:
    """Bytes for one number of `dtype` (NumPy's name, or bfloat16); None for one that is not read here."""
    return np.dtype(_NUMPY[dtype]).itemsize if dtype in _NUMPY else None


def read_span(path: Path, offset: int, size: int) -> Array:
    """(size,) uint8: the bytes of `path` from `offset` on. FileError where the file is too short or unreadable."""
    try:
        if offset < 0 or size < 0 or offset + size > path.stat().st_size:
            raise FileError(path, f"bytes {offset} to {offset + size} lie outside the file", "copy it again")
        if size > _MAPPED:
            return np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=(size,))
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(size)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})") from error
    if len(data) != size:
        raise FileError(path, f"ended while bytes {offset} to {offset + size} were read", "is it being written?")
    return np.frombuffer(data, dtype=np.uint8)


def decode(raw: Array, dtype: str, big_endian: bool = False) -> Array:
    """(n,) native numbers from `raw` (bytes,) uint8. bfloat16 comes as the float32 of equal value.

    A bfloat16 is the upper half of a float32, so nothing is rounded. `dtype` is one that `itemsize` knows.
    """
    stored = np.dtype((">" if big_endian else "<") + _NUMPY[dtype])
    numbers: Array = raw.view(stored).astype(stored.newbyteorder("="), copy=False)
    if dtype == "bfloat16":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers

"""The global heaps of an HDF5 file, walked before the HDF5 library walks them: some would never let it go.

A collection is `GCOL`, a version, its size, and objects one behind another: index, references, size, contents padded to
8 bytes; index 0 is what is left free, and its size counts its own header (HDF5 File Format Specification 3.0, III.E).
HDF5 up to 1.14.6 goes from object to object (H5HGcache.c, `H5HG__cache_heap_deserialize`) without asking whether it
moves at all: free space of size 0, or a size that wraps around, holds it, and the interpreter with it, for ever.
"""

from __future__ import annotations

from pathlib import Path

from rnnverify.containers.hdf5_texts import Data, superblock
from rnnverify.errors import FileError

_SMALLEST = 4096  # bytes of a collection: the library refuses smaller ones
_MOST_OBJECTS = 1_000_000  # in all collections: names and configurations of a model, a few hundred
_ADVICE = "the file is damaged: copy or save it again"


def check_heaps(path: Path, data: Data, where: str = "") -> None:
    """Raise `FileError` where a collection of `data`, a whole HDF5 file, would hold the library for ever.

    Collections are found by their mark, wherever they are: whichever the library is sent to, it was looked at here.
    """
    width = superblock(data).length_size
    left, at = _MOST_OBJECTS, data.find(b"GCOL")
    while at >= 0:
        steps = _steps(data, at, width, left)
        if steps is None:
            raise FileError(path, f"{where}HDF5 is damaged (the heap at {at} does not end)", _ADVICE)
        left, at = left - steps, data.find(b"GCOL", at + 1)


def _steps(data: Data, at: int, width: int, most: int) -> int | None:
    """How many objects the library, sent to the collection at `at`, meets at most; None where that is above `most`."""
    header, number = _aligned(8 + width), 1 << 8 * width
    size = int.from_bytes(data[at + 8 : at + 8 + width], "little")
    if data[at + 4 : at + 5] != b"\x01" or size < _SMALLEST or at + size > len(data):
        return 0  # it goes no further than this
    place, end, steps = at + header, at + size, 0
    while place + header <= end:
        index = int.from_bytes(data[place : place + 2], "little")
        length = int.from_bytes(data[place + 8 : place + 8 + width], "little")
        step = (length if index == 0 else header + _aligned(length)) % min(number, 1 << 64)
        steps += 1
        if step == 0 or steps > most:
            return None
        place += step
    return steps


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8

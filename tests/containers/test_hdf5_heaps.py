"""Heaps that would hold the HDF5 library for ever are told before it meets them; sound ones pass.

Nothing here hands a heap to the library that was not refused before: it would not come back.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rnnverify.containers import hdf5_heaps
from rnnverify.containers.hdf5 import read
from rnnverify.containers.hdf5_heaps import check_heaps
from rnnverify.errors import FileError

PATH = Path("model.h5")


def collection(*objects: tuple[int, int], size: int = 4096, version: int = 1) -> bytes:
    """A collection with objects of (index, announced size), each as long as it says where that fits."""
    out = b"GCOL" + bytes([version, 0, 0, 0]) + size.to_bytes(8, "little")
    for index, announced in objects:
        length = announced - 16 if index == 0 else announced
        out += index.to_bytes(2, "little") + bytes(6) + announced.to_bytes(8, "little")
        out += bytes((length + 7) // 8 * 8 if 0 <= length < size else 0)
    return out.ljust(size, b"\0")[: max(size, 16)]


@pytest.mark.parametrize(
    "sound",
    [
        collection((1, 5), (2, 0), (3, 100), (0, 4096 - 16 - 24 - 16 - 120)),
        collection((1, 4096 - 32)),
        collection((1, 4096 - 40)),  # the room that is left is too small for an object
        collection((0, 0), version=2),
        collection((0, 0), size=4000),
        collection((0, 0))[:4000],  # cut off: the library refuses it
        b"GCOL",
    ],
)
def test_what_the_library_comes_through_passes(sound: bytes) -> None:
    check_heaps(PATH, sound)
    check_heaps(PATH, bytes(100) + sound)


@pytest.mark.parametrize(
    "endless",
    [
        collection((0, 0)),
        collection((1, 5), (0, 0)),
        collection((1, 5), (0, 8)),  # into zeros, which read as free space of size 0
        collection((1, 2**64 - 16)),  # which wraps around to 0
        collection((1, 2**64 - 23)),
    ],
)
def test_what_holds_the_library_is_refused(endless: bytes) -> None:
    for data in (endless, bytes(7) + endless, collection((0, 4080)) + endless):
        with pytest.raises(
            FileError, match=r"model\.h5: model\.weights\.h5: HDF5 is damaged \(the heap at \d+ does not"
        ):
            check_heaps(PATH, data, "model.weights.h5: ")


def test_heaps_inside_one_another_are_not_walked_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    one = collection((1, 0), (2, 0), (0, 4096 - 48))
    monkeypatch.setattr(hdf5_heaps, "_MOST_OBJECTS", 8)
    check_heaps(PATH, one * 2)
    with pytest.raises(FileError, match="does not end"):
        check_heaps(PATH, one * 3)


def test_genuine_files_pass_and_a_damaged_one_is_refused(fixtures: Path) -> None:
    for path in fixtures.rglob("*.h5"):
        if path.parent.name != "bad":
            check_heaps(path, path.read_bytes())
    damaged = fixtures / "bad" / "heap_without_end.h5"
    with pytest.raises(FileError, match="does not end"):
        check_heaps(damaged, damaged.read_bytes())
    with pytest.raises(FileError, match="does not end"):
        read(damaged)

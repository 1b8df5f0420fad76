"""Equinox's `tree_serialise_leaves`: every leaf of a tree as an .npy, one after another, and no names.

A first line of JSON, the hyperparameters, may stand before them, as Equinox's own documentation does it (equinox
0.13.8, docs/api/serialisation.md). A bfloat16 is kept as two bytes of no type. Arrays are mapped, never unpickled.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnverify.arrays import open_npys
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.raw_span import decode
from rnnverify.errors import FileError

_MAGIC = b"\x93NUMPY"
_LONGEST = 1 << 20  # bytes of a first line


def read(path: Path) -> Contents:
    """The arrays of the file, as `leaf 0`, `leaf 1`, ... in its order.

    Raises FileError where it is no sequence of .npy arrays, for object arrays, and for sizes that it does not hold.
    """
    with path.open("rb") as file:
        start = file.read(len(_MAGIC))
        if start == _MAGIC:
            first = b""
        else:
            file.seek(0)
            first = file.readline(_LONGEST)
    if first and not first.endswith(b"\n"):
        raise FileError(path, "has a first line without an end", "write the hyperparameters as one line of JSON")
    tensors = {f"leaf {k}": _stored(f"leaf {k}", array) for k, array in enumerate(open_npys(path, len(first)))}
    notes = ("the first line, hyperparameters, is not read",) if first else ()
    return Contents(path, "Equinox leaves", "equinox", tensors, writer="Equinox", notes=notes)


def _stored(name: str, array: Array) -> StoredTensor:
    half = array.dtype.kind == "V" and array.dtype.itemsize == 2

    def read() -> Array:
        if half:
            return decode(np.frombuffer(array.tobytes(), np.uint8), "bfloat16").reshape(array.shape)
        return np.array(array, dtype=array.dtype.newbyteorder("="))

    return StoredTensor(name, array.shape, "bfloat16" if half else array.dtype.name, read)

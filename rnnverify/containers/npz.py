"""`.npz`: the named arrays of a state_dict or a Flax tree, as `numpy.savez(path, **arrays)` keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnverify.arrays import open_npz
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, FrameworkName, StoredTensor
from rnnverify.containers.flax_names import are_of_flax


def read(path: Path) -> Contents:
    """The arrays of an `.npz`, mapped where they are stored uncompressed. Nothing is unpickled.

    Raises FileError for a damaged archive, for object arrays, and for sizes that the file does not hold.
    """
    tensors = {name: _stored(name, array) for name, array in open_npz(path).items()}
    framework: FrameworkName | None = "flax" if are_of_flax(tensors) else None
    return Contents(path, "npz", framework, tensors, writer="NumPy")


def _stored(name: str, array: Array) -> StoredTensor:
    def values() -> Array:
        return np.array(array, dtype=array.dtype.newbyteorder("="))

    return StoredTensor(name, array.shape, array.dtype.name, values)

"""Weights that can be compared: read, and none of them NaN or infinite."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import StoredTensor
from rnnverify.errors import FileError, printable


def finite(path: Path, tensor: StoredTensor, advice: str) -> Array:
    """The values of `tensor` of the file at `path`. Raises FileError, with that advice, where one is no number."""
    values = tensor.read()
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        found = f"{printable(tensor.name)} holds {bad} of {values.size} numbers that are NaN or infinite"
        raise FileError(path, found, advice)
    return values

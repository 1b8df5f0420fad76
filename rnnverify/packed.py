"""Arrays on their way to a runner and back: small ones together in one file, large ones mapped from one each.

A reference to an array, in the JSON of a request or a result, is the path of an `.npy` file, or
[path, offset, dtype, shape] of its bytes within a file of many. `runners/exchange.py` is the other end.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.canonical import Array

SMALL = 2**20
"""Bytes up to which an array shares its file: to open and map one of its own takes longer than to read it."""

Reference = str | list[Any]


class Pack:
    """Arrays written below `folder`; one that is given again, by identity, is not written again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = (folder / "small").open("wb")
        self._written: dict[int, tuple[Array, Reference]] = {}  # an array that is kept keeps its identity

    def add(self, array: Array) -> Reference:
        """Where `array` will be once `flush` was called."""
        if id(array) not in self._written:
            self._written[id(array)] = array, self._write(array)
        return self._written[id(array)][1]

    def _write(self, array: Array) -> Reference:
        if array.nbytes > SMALL:
            path = self._folder / f"array-{len(self._written)}.npy"
            np.save(path, array, allow_pickle=False)
            return str(path)
        offset = self._file.tell()
        self._file.write(array.tobytes())
        return [self._file.name, offset, array.dtype.str, list(array.shape)]

    def flush(self) -> None:
        """From here on all that was added can be read."""
        self._file.flush()

    def close(self) -> None:
        """Nothing more will be added."""
        self._file.close()


class Unpack:
    """Reads arrays by reference; a file of many is read once."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def load(self, reference: Reference) -> Array:
        """The array, read-only; mapped where it is large. Raises OSError and ValueError where it is not there."""
        if isinstance(reference, str):
            mapped: Array = np.load(reference, mmap_mode="r", allow_pickle=False)
            return mapped
        path, offset, dtype, shape = reference
        if path not in self._files:
            self._files[path] = Path(path).read_bytes()
        found: Array = np.frombuffer(self._files[path], dtype, math.prod(shape), offset).reshape(shape)
        return found

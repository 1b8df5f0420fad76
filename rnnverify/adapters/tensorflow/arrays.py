"""The arrays of TensorFlow's cells, each checked as it is read, with its place in the network."""

from __future__ import annotations

import numpy as np

from rnnverify.adapters.tensorflow.names import Cell, ordered
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, UnsupportedError, printable

SAVE_AGAIN = "save the checkpoint again"


class Arrays:
    """Reads arrays by cell and role, and remembers every one of them."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.read: dict[str, Array] = {}  # by variable name, as stored
        self.roles: dict[str, str] = {}  # variable name to its place in the network

    def matrix(self, cell: Cell, role: str) -> Array:
        """Two axes, none of them empty. Raises `FileError` otherwise, as `array` does."""
        array = self.array(cell, role)
        if array.ndim != 2 or array.size == 0:
            found = f"{self.name(cell, role)} has shape {array.shape}"
            raise self.refused(found, "it must have two axes, none of them empty")
        return array

    def array(self, cell: Cell, role: str) -> Array:
        """The only array of that role. Raises `FileError` where it is none that weights can be."""
        names = cell.variables.get(role, [])
        if len(names) != 1:
            found = f"{printable(cell.scope)} has {'several tensors as' if names else 'no'} {role}"
            raise self.refused(found + (f" ({printable(', '.join(names))})" if names else ""), SAVE_AGAIN)
        return self._weights(names[0])

    def shards(self, cell: Cell, role: str) -> Array:
        """The array of that role, which may lie in shards W_0, W_1, ... of rows. Raises `FileError` as `array` does."""
        names = cell.variables.get(role, [])
        if len(names) < 2 or sorted(names) != sorted(names[0].rpartition("_")[0] + f"_{k}" for k in range(len(names))):
            return self.array(cell, role)
        parts = [self._weights(name) for name in ordered(names)]
        if len({part.shape[1:] for part in parts}) > 1 or parts[0].ndim != 2:
            raise self.refused(f"the shards of {printable(names[0])} do not fit together", SAVE_AGAIN)
        return np.concatenate(parts)

    def _weights(self, name: str) -> Array:
        stored = self._contents.tensors[name]
        if stored.dtype not in ("float16", "bfloat16", "float32", "float64"):
            found = f"{printable(name)} holds {stored.dtype}"
            raise self.refused(found, "weights must be float16, bfloat16, float32 or float64")
        array = stored.read()
        if not np.isfinite(array).all():
            found = f"{printable(name)} holds {int((~np.isfinite(array)).sum())} NaN or infinite values"
            raise self.refused(found, "choose a checkpoint from before the training diverged")
        self.read[name] = array
        return array

    def check_shape(self, cell: Cell, role: str, array: Array, wanted: tuple[int, ...], units: int) -> None:
        """Raise `FileError` where `array` has another shape than a cell with so many units needs."""
        if array.shape != wanted:
            found = f"{self.name(cell, role)} has shape {array.shape}"
            raise self.refused(found, f"with {units} units it must have {wanted}")

    def place(self, cell: Cell, role: str, text: str) -> None:
        """Say where the array of that role went."""
        for name in cell.variables[role]:
            self.roles[name] = text

    def name(self, cell: Cell, role: str) -> str:
        return printable(cell.variables[role][0])

    def refused(self, found: str, advice: str) -> FileError:
        return FileError(self._contents.path, found, advice)

    def unsupported(self, found: str, advice: str) -> UnsupportedError:
        return UnsupportedError(self._contents.path, found, advice)

"""The weights of one cell of a tree of JAX arrays, and the checks that every array of it passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rnnverify.adapters.finite import finite
from rnnverify.adapters.jax.cell import Cell
from rnnverify.canonical import Array, CellKind, Direction
from rnnverify.errors import FileError, UnsupportedError, printable

_FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclass(frozen=True)
class Weights:
    """One cell of the network."""

    cell: CellKind
    direction: Direction
    arrays: Mapping[str, Array]  # by the name in the file, as stored
    roles: Mapping[str, str]  # by the name in the file


def check_shape(path: Path, cell: Cell, key: str, wanted: tuple[int, ...]) -> None:
    tensor = cell.weights[key]
    if tensor.shape != wanted or 0 in wanted:
        found = f"{printable(tensor.name)} has shape {printable(tensor.shape, 60)}"
        raise FileError(path, found, f"{cell.words} of these sizes has {wanted}")


def weights_of(path: Path, cell: Cell, key: str) -> Array:
    tensor = cell.weights[key]
    shown = printable(tensor.name)
    if tensor.dtype not in _FLOATS:
        found = f"{shown} holds {printable(tensor.dtype, 60)}"
        raise UnsupportedError(path, found, "weights must be float16, bfloat16, float32 or float64")
    return finite(path, tensor, "choose parameters from before the training diverged")

"""Named Keras arrays to canonical layers. Keras stores them as the canonical form does: samples are rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np

from rnnverify.adapters.keras.cells import Cell
from rnnverify.adapters.keras.gates import Wanted, direction, gates_of, wanted
from rnnverify.adapters.keras.layers import KerasLayer
from rnnverify.canonical import Array, Direction, Layer, Merge
from rnnverify.containers.contents import Contents
from rnnverify.errors import FileError, UnsupportedError, printable

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


@dataclass
class NetworkBuilder:
    """Builds the layers of one part, and keeps which tensor went where."""

    contents: Contents
    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)

    def add(self, layer: KerasLayer) -> None:
        """One canonical layer for each cell. Raises `FileError` where names, shapes, dtypes or values are wrong."""
        for k, cell in enumerate(layer.cells):
            # a backward layer turns its input around once: the cells above the first read what it hands on
            backwards = layer.go_backwards and k == 0
            directions = []
            for d, cells in enumerate(layer.tensors):
                reverse = backwards or d == 1
                where = f"layer {len(self.layers)}" + (" reverse" if reverse else "")
                directions.append(self._direction(cells[k], cell, where, reverse))
            if len({direction.input_size for direction in directions}) > 1:
                found = f"the two directions of {printable(layer.name)!r} read different numbers of features"
                raise FileError(self.contents.path, found, "save the model again")
            made = Layer(
                tuple(directions),
                cell.activation,
                cell.kind,
                merge=cast(Merge, layer.merge_mode or "concat"),  # keras_layers let no other value pass
                time_restored=not backwards,
                name=layer.name,
                gating=cell.gating,
            )
            if self.layers and self.layers[-1].output_size != made.input_size:
                found = f"{printable(layer.name)!r} reads {made.input_size} features, but gets "
                raise FileError(self.contents.path, f"{found}{self.layers[-1].output_size}", "save the model again")
            self.layers.append(made)

    def _direction(self, names: tuple[str, ...], cell: Cell, where: str, reverse: bool) -> Direction:
        fitting = wanted(cell, len(names), self._inputs(names[0]))
        for each, name in zip(fitting, names, strict=True):
            self._check(name, each)
        arrays = [self._values(name) for name in names]
        for (role, *_), name, array in zip(fitting, names, arrays, strict=True):
            self.tensors[name] = array
            self.roles[name] = f"{where} {role.replace('_', ' ')}{gates_of(cell, len(names), role)}"
        return direction(cell, arrays, reverse)

    def _inputs(self, kernel: str) -> int:
        stored = self.contents.tensors.get(kernel)
        return stored.shape[0] if stored and len(stored.shape) == 2 else 0

    def _check(self, name: str, fitting: Wanted) -> None:
        """By the header alone: nothing is read before all shapes fit."""
        role, shape, letters = fitting
        path, title = self.contents.path, f"{role.replace('_', ' ')} {printable(name)!r}"
        stored = self.contents.tensors.get(name)
        if stored is None:
            refused = self.contents.metadata.get("refused")
            if isinstance(refused, dict) and name in refused:
                raise UnsupportedError(path, f"{title} is {refused[name]}", "save the weights as plain arrays")
            raise FileError(path, f"the file holds no array for the {title}", "save the model again")
        if stored.shape != shape or 0 in shape:
            found = f"{title} has shape {stored.shape}, wanted {letters if 0 in shape else shape}"
            raise FileError(path, found, "save the model again")
        if stored.dtype not in _FLOATS:
            found = f"{title} has dtype {stored.dtype}, wanted one of {', '.join(sorted(_FLOATS))}"
            raise FileError(path, found, "save the model with floating-point weights")

    def _values(self, name: str) -> Array:
        array = self.contents.tensors[name].read()
        wrong = int(np.count_nonzero(~np.isfinite(array)))
        if wrong:
            found = f"tensor {printable(name)!r} has {wrong} values that are NaN or infinite"
            raise FileError(self.contents.path, found, "such a network has no outputs to compare")
        return array

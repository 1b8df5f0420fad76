"""Equinox's GRUCell and LSTMCell, to canonical form; their arrays have an order in the file, and no names.

Layout (equinox/nn/_rnn.py, 0.13.8), the fields of a cell in order: GRUCell `weight_ih` (3H, I), `weight_hh` (3H, H),
`bias` (3H,), `bias_n` (H,), gates r, z, n; LSTMCell `weight_ih` (4H, I), `weight_hh` (4H, H), `bias` (4H,), gates i, f,
g, o; without biases under `use_bias=False`. The activations are tanh and sigmoid, and nothing else. A cell is told by
these shapes, side by side: that they are one is an assumption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rnnverify.adapters.equinox import around as equinox_around
from rnnverify.adapters.gate_order import in_order
from rnnverify.adapters.jax.cell import Cell
from rnnverify.adapters.jax.reading import reading_of
from rnnverify.adapters.jax.restate import restate
from rnnverify.adapters.jax.weights import Weights, check_shape, weights_of
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import GATES, Array, CellKind, Direction, reorder
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.errors import SelectorError, printable

__all__ = ["read", "restate"]

KINDS: Mapping[int, tuple[str, CellKind, str]] = {3: ("GRUCell", "gru", "rzn"), 4: ("LSTMCell", "lstm", "ifgo")}
"""Gates to class, canonical cell and the order in which its gates lie in one array."""


def read(contents: Contents, selector: str | None) -> Reading:
    """The part of `contents` that `selector` names (`GRUCell_0`, a stack `GRUCell_0+GRUCell_1`), in canonical form.

    Raises SelectorError where the choice is not clear, or no cell is found, FileError for arrays that are not finite.
    """
    cells = list(_cells_in(contents))
    if not cells:
        shapes = ", ".join(printable(tensor.shape, 40) for tensor in [*contents.tensors.values()][:8])
        found = (
            f"has no arrays of an Equinox GRUCell or LSTMCell side by side, (3H, I) and (3H, H) first; it has {shapes}"
        )
        raise SelectorError(contents.path, found, "give a trace of the model: an .npz with x (B, T, I) and y (B, T, F)")
    reading = reading_of(contents, "equinox", cells, _read_weights, equinox_around.find, selector)
    leaves = ", ".join(name for name, role in reading.roles.items() if role.startswith("layer "))
    said = f"{leaves} are a cell by their shapes: the file holds no names"
    return replace(reading, assumptions=(said, *reading.assumptions))


def _cells_in(contents: Contents) -> Iterator[Cell]:
    leaves = list(contents.tensors.values())
    numbers: Counter[str] = Counter()
    while leaves:
        weights = _first_cell(leaves)
        if not weights:
            leaves.pop(0)
            continue
        H = weights["weight_hh"].shape[1]
        name = KINDS[weights["weight_hh"].shape[0] // H][0]
        place = (f"{name}_{numbers[name]}",)
        yield Cell(place, "", ("equinox", name), (weights["weight_ih"].shape[1], H), weights)
        numbers[name] += 1
        leaves = leaves[len(weights) :]


def _first_cell(leaves: list[StoredTensor]) -> dict[str, StoredTensor]:
    """The arrays of a cell that `leaves` begin with; empty where they begin with none."""
    shapes = [leaf.shape for leaf in leaves[:4]]
    if len(shapes) < 2 or [len(shape) for shape in shapes[:2]] != [2, 2] or 0 in (*shapes[0], *shapes[1]):
        return {}
    rows, H = shapes[1]
    if shapes[0][0] != rows or rows not in (3 * H, 4 * H):
        return {}
    names = ["weight_ih", "weight_hh"]
    biases = {"bias": (rows,), "bias_n": (H,)} if rows == 3 * H else {"bias": (rows,)}
    if shapes[2 : 2 + len(biases)] == [*biases.values()]:
        names += biases
    return dict(zip(names, leaves, strict=False))


def _read_weights(path: Path, cell: Cell, reverse: bool) -> Weights:
    I, H = cell.sizes
    G = cell.weights["weight_hh"].shape[0] // H
    _, kind, gates = KINDS[G]
    arrays = {key: weights_of(path, cell, key) for key in cell.weights}
    for key, wanted in (("weight_ih", (G * H, I)), ("weight_hh", (G * H, H))):
        check_shape(path, cell, key, wanted)
    bias = arrays.get("bias", np.zeros(G * H, arrays["weight_ih"].dtype))
    recurrent = np.zeros((G, H), bias.dtype)
    if "bias_n" in arrays:
        recurrent[gates.index("n")] = arrays["bias_n"]

    def by_gate(array: Array) -> Array:
        """(G * H, ...) as (G, ..., H) in canonical order: rows are units."""
        parts = np.stack(np.split(array, G))
        return reorder(np.moveaxis(parts, 1, -1), gates, GATES[kind])

    direction = Direction(
        kernel=by_gate(arrays["weight_ih"]),
        recurrent_kernel=by_gate(arrays["weight_hh"]),
        bias_input=by_gate(bias),
        bias_recurrent=reorder(recurrent, gates, GATES[kind]),
        reverse=reverse,
        has_bias="bias" in arrays,
    )
    named = {cell.weights[key].name: array for key, array in arrays.items()}
    return Weights(kind, direction, named, {cell.weights[key].name: _role(key, gates) for key in cell.weights})


def _role(key: str, gates: str) -> str:
    what = {
        "weight_ih": "kernel (transposed)",
        "weight_hh": "recurrent kernel (transposed)",
        "bias": "input bias",
        "bias_n": "recurrent bias",
    }
    return what[key] + (", gate n" if key == "bias_n" else in_order(gates, "rows" * key.startswith("weight")))

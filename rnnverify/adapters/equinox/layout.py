"""The canonical network as a list of Equinox cells holds it, GRUCell and LSTMCell: the inverse of `equinox`.

The file is the leaves of that list: cell by cell, the forward one of a layer before the backward one, the fields of a
cell in their order (equinox/nn/_rnn.py, 0.13.8). What drives the cells over time is the user's own, and not in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnverify.adapters.equinox.adapter import KINDS
from rnnverify.adapters.jax.layout import Arrays, arrays_of, check, chosen, notes_of
from rnnverify.adapters.layout import Layout
from rnnverify.canonical import GATES, Array, Layer, Network, reorder
from rnnverify.errors import UnsupportedError


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:  # noqa: ARG001 - leaves have none
    """`network` as cells, one or two a layer.

    Raises UnsupportedError, about `target`, for what these cells cannot compute.
    """
    for k, layer in enumerate(network.layers):
        if reason := _beyond(layer):
            raise UnsupportedError(target, f"layer {k} {reason}", "convert to a Flax file, or another framework")
    check(network, target, "Equinox")
    tensors: dict[str, Array] = {}
    made, cells = [], []
    numbers: Counter[str] = Counter()
    for k, layer in enumerate(network.layers):
        name, _, gates = KINDS[len(GATES[layer.cell])]
        weights = [arrays_of(layer, direction, target, k) for direction in layer.directions]
        directions = []
        for each in weights:
            fields = _fields(layer, each, gates)
            leaves = [f"leaf {len(tensors) + number}" for number in range(len(fields))]
            tensors |= zip(leaves, fields.values(), strict=True)
            directions.append(dict(zip(fields, leaves, strict=True)))
        sizes = {"input_size": layer.input_size, "hidden_size": layer.hidden_size}
        made.append({"cell": name, **sizes, "dtype": weights[0].kernel.dtype.name, "directions": directions})
        cells.append([f"{name}_{numbers[name] + d}" for d in range(len(weights))])
        numbers[name] += len(weights)
    return Layout("equinox", tuple(made), tensors, chosen(cells), tuple(notes_of(network)))


def _beyond(layer: Layer) -> str:
    """Why no cell of Equinox computes `layer`, though one of Flax may; empty where one does."""
    if layer.cell == "rnn":
        return "is a vanilla recurrent layer, and Equinox has a GRUCell and an LSTMCell only"
    for found, own, words in ((layer.activation, "tanh", ""), (layer.gating.activation, "sigmoid", "gate ")):
        if found != own:
            return f"has the {words}activation {found}, and the cells of Equinox have {own} only"
    return ""


def _fields(layer: Layer, weights: Arrays, gates: str) -> dict[str, Array]:
    """The arrays of a cell by their fields, in the order of the file: rows are units."""

    def rows(array: Array) -> Array:
        """(G, ..., H) to (G * H, ...)."""
        stored = np.moveaxis(reorder(array, GATES[layer.cell], gates), -1, 1)
        return np.ascontiguousarray(stored.reshape(-1, *stored.shape[2:]))

    found = {"weight_ih": rows(weights.kernel), "weight_hh": rows(weights.recurrent_kernel)}
    if not weights.has_bias:
        return found
    found["bias"] = rows(weights.bias)
    return {**found, "bias_n": weights.bias_n} if layer.cell == "gru" else found

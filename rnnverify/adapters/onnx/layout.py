"""The canonical network as nodes of an ONNX graph hold it, RNN, GRU or LSTM: the inverse of `weights`.

One node a layer, or two whose outputs are added or multiplied, as ONNX itself only puts directions side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.adapters.layout import Layout, plain_names, widened
from rnnverify.adapters.onnx.weights import PEEPHOLES_STORED, STORED
from rnnverify.canonical import GATES, PEEPHOLES, Array, CellKind, Direction, Layer, Network, reorder
from rnnverify.errors import UnsupportedError
from rnnverify.parametrised import Parsed, parsed

_OPS: dict[CellKind, str] = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
_INSTEAD = "convert to a Keras file or a TensorFlow checkpoint"
_FUNCTIONS: dict[str, tuple[str, tuple[float, ...]]] = {
    **{name: (name.capitalize(), ()) for name in ("tanh", "relu", "sigmoid", "softsign", "softplus")},
    "linear": ("Affine", (1.0, 0.0)),
    "leaky_relu": ("LeakyRelu", (0.2,)),
    "elu": ("Elu", (1.0,)),
    "hard_sigmoid": ("HardSigmoid", (1 / 6, 0.5)),
    "keras2_hard_sigmoid": ("HardSigmoid", (0.2, 0.5)),
}
"""Name here to name and numbers, alpha and beta, there."""

_FAMILIES = {
    "affine": "Affine",
    "leaky_relu": "LeakyRelu",
    "thresholded_relu": "ThresholdedRelu",
    "scaled_tanh": "ScaledTanh",
    "hard_sigmoid": "HardSigmoid",
    "elu": "Elu",
}


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` as a chain of nodes; `names` are theirs, one a layer.

    Raises UnsupportedError, about `target`, for what no node can compute.
    """
    for k, layer in enumerate(network.layers):
        if reason := _beyond(layer):
            raise UnsupportedError(target, f"layer {k} {reason}", _INSTEAD)
    dtype = network.dtype
    if len(set(names)) != len(network.layers):
        names = plain_names([layer.name for layer in network.layers], "rnn")
    tensors: dict[str, Array] = {}
    made = []
    for layer, name in zip(network.layers, names, strict=True):
        nodes = []
        for own, directions in _nodes(layer, name):
            arrays = {f"{own}.{role}": array.astype(dtype) for role, array in _arrays(layer, directions).items()}
            tensors.update(arrays)
            way = "bidirectional" if len(directions) == 2 else "reverse" if directions[0].reverse else "forward"
            said = _activations(layer) if len(directions) == 1 else _activations(layer, 2)
            attributes = {"direction": way, "hidden_size": layer.hidden_size, **said}
            nodes.append({"name": own, "op": _OPS[layer.cell], "tensors": list(arrays), "attributes": attributes})
        made.append({"nodes": nodes, "merge": layer.merge})
    return Layout("onnx", tuple(made), tensors, "", widened(network.layers, dtype))


def _nodes(layer: Layer, name: str) -> Iterator[tuple[str, tuple[Direction, ...]]]:
    """The nodes of one layer, by their names."""
    if layer.bidirectional and layer.merge != "concat":
        yield from ((f"{name}_{way}", (each,)) for way, each in zip(("fw", "bw"), layer.directions, strict=True))
    else:
        yield name, layer.directions


def _beyond(layer: Layer) -> str:
    """Why no node can compute `layer`; empty where one can."""
    functions = _functions(layer)
    for each in functions:
        if each.base not in (_FAMILIES if each.numbers else _FUNCTIONS):
            return f"has the activation {each.base}, which ONNX has not for recurrent nodes"
    clips = [each.clip for each in functions]
    if len(set(clips[:2])) > 1 or any(clips[2:]):
        return "clips what goes into some of its activations only, and an ONNX node has one clip for all of its gates"
    if layer.merge == "ave":
        return "merges its directions by ave, which is not read from an ONNX graph"
    if not layer.time_restored:
        return "hands its outputs on in the order of processing, and an ONNX node in that of its input"
    if layer.gating.cell_clip:
        return "clips its cell state, and an ONNX node cannot"
    if any(direction.projection is not None for direction in layer.directions):
        return "projects its state, and an ONNX node cannot"
    return ""


def _functions(layer: Layer) -> list[Parsed]:
    """f of an RNN, f and g of a GRU, f, g and h of an LSTM."""
    names = {
        "rnn": (layer.activation,),
        "gru": (layer.gating.activation, layer.activation),
        "lstm": (layer.gating.activation, layer.activation, layer.gating.output or layer.activation),
    }[layer.cell]
    return [parsed(name) for name in names]


def _activations(layer: Layer, directions: int = 1) -> Mapping[str, Any]:
    """The attributes that say what a node of so many directions computes."""
    functions = _functions(layer)
    stated = [(_FAMILIES[f.base], f.numbers) if f.numbers else _FUNCTIONS[f.base] for f in functions] * directions
    said: dict[str, Any] = {"activations": [name for name, _ in stated]}
    for k, greek in enumerate(("alpha", "beta")):
        values = [numbers[k] for _, numbers in stated if len(numbers) > k]
        said |= {f"activation_{greek}": values} if values else {}
    if functions[0].clip:
        said["clip"] = functions[0].clip
    if layer.cell == "gru":
        said["linear_before_reset"] = int(layer.gating.reset_after)
    return said


def _arrays(layer: Layer, directions: Sequence[Direction]) -> dict[str, Array]:
    """W, R, and B and P where the layer has them, each with the axis of directions first."""

    def stacked(tensors: Sequence[Array]) -> Array:
        """(G, ..., H) of every direction to (D, G*H, ...)."""
        stored = [reorder(array, GATES[layer.cell], STORED[_OPS[layer.cell]]) for array in tensors]
        rows = [np.moveaxis(array, -1, 1) for array in stored]  # (G, H, ...)
        return np.stack([array.reshape(-1, *array.shape[2:]) for array in rows])

    found = {"W": stacked([d.kernel for d in directions]), "R": stacked([d.recurrent_kernel for d in directions])}
    if any(d.has_bias for d in directions):
        halves = [stacked([d.bias_input for d in directions]), stacked([d.bias_recurrent for d in directions])]
        found["B"] = np.concatenate(halves, axis=1)
    peepholes = [d.peephole for d in directions if d.peephole is not None]
    if peepholes:
        found["P"] = np.stack([reorder(each, PEEPHOLES, PEEPHOLES_STORED).ravel() for each in peepholes])
    return found

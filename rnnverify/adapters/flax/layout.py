"""The canonical network as cells of Flax's linen hold it, and of its nnx: the inverse of `weights`.

Each cell is driven by an nn.RNN, each two by an nn.Bidirectional, all of them in an nn.Sequential where there are
several (flax/linen/recurrent.py, combinators.py and flax/nnx/nn/recurrent.py, 0.12.8):

    linen   params/cell, params/forward_rnn/cell, params/layers_0/cell, params/layers_1/backward_rnn/cell
    nnx     cell, forward_rnn/cell, layers/0/cell, layers/1/backward_rnn/cell
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from rnnverify.adapters.flax.weights import TREES
from rnnverify.adapters.jax.layout import Arrays, arrays_of, check, chosen, notes_of
from rnnverify.adapters.layout import Layout
from rnnverify.canonical import GATES, Array, CellKind, Layer, Network, reorder
from rnnverify.errors import UnsupportedError

Api = Literal["linen", "nnx"]

_CELLS: Mapping[tuple[Api, CellKind], str] = {
    ("linen", "rnn"): "SimpleCell",
    ("linen", "gru"): "GRUCell",
    ("linen", "lstm"): "OptimizedLSTMCell",
    ("nnx", "rnn"): "SimpleCell",
    ("nnx", "gru"): "GRUCell",
    ("nnx", "lstm"): "LSTMCell",
}
"""The class of each kind of cell; linen's LSTMCell has the tree of its OptimizedLSTMCell."""

_SIDES = ("forward_rnn", "backward_rnn")
_PLACES: Mapping[Api, tuple[str, str]] = {"linen": ("params/", "layers_"), "nnx": ("", "layers/")}
"""What stands before all parameters, and before the number of a layer among several."""


def lay_out(network: Network, target: Path, names: Sequence[str] = (), api: Api = "linen") -> Layout:
    """`network` as cells of `api`. `names` are, one a layer, the keys that lead to its cell, joined by `/`, or to both
    of its cells, joined by `,`.

    Raises UnsupportedError, about `target`, for what these cells cannot compute.
    """
    check(network, target, "Flax")
    scopes = _scopes(network.layers, names, api)
    tensors: dict[str, Array] = {}
    made = []
    for k, (layer, of_layer) in enumerate(zip(network.layers, scopes, strict=True)):
        held = [_parameters(layer, arrays_of(layer, d, target, k), target, k, api) for d in layer.directions]
        tensors |= {f"{scope}/{key}": a for scope, each in zip(of_layer, held, strict=True) for key, a in each.items()}
        made.append(
            {
                "api": api,
                "cell": _CELLS[api, layer.cell],
                "input_size": layer.input_size,
                "hidden_size": layer.hidden_size,
                "dtype": next(iter(held[0].values())).dtype.name,
                "directions": [
                    {key: f"{scope}/{key}" for key in each} for scope, each in zip(of_layer, held, strict=True)
                ],
            }
        )
    part = chosen([[_part(scope) for scope in of_layer] for of_layer in scopes])
    return Layout("flax", tuple(made), tensors, part, tuple(dict.fromkeys((*_zeros(network), *notes_of(network)))))


def _scopes(layers: Sequence[Layer], names: Sequence[str], api: Api) -> list[list[str]]:
    """The keys that lead to each cell of each layer."""
    given = [name.split(",") for name in names]
    flat = [scope for each in given for scope in each]
    if [len(each) for each in given] == [len(layer.directions) for layer in layers] and len({*flat}) == len(flat):
        return given
    start, numbered = _PLACES[api]
    places = [start + (f"{numbered}{k}/" if len(layers) > 1 else "") for k in range(len(layers))]
    return [
        [f"{place}{side}/cell" for side in _SIDES] if layer.bidirectional else [f"{place}cell"]
        for place, layer in zip(places, layers, strict=True)
    ]


def _part(scope: str) -> str:
    """A cell as a selector names it: without the keys that every one of them has."""
    keys = scope.removeprefix("params/").split("/")
    keys = keys[:-1] if keys[-1] == "cell" else keys
    return "/".join(keys[:-1] if keys[-1:] and keys[-1] in _SIDES else keys)


def _parameters(layer: Layer, weights: Arrays, target: Path, k: int, api: Api) -> dict[str, Array]:
    """{"ir/kernel": (I, H), ...}: every parameter of the cell, as its class lists them."""
    tree = TREES[api, _CELLS[api, layer.cell]]
    over_x, over_h, biased = tree.over_x.split(), tree.over_h.split(), set(tree.with_bias.split())
    wide = len(GATES[layer.cell]) // len(over_x)

    def shared(array: Array, modules: Sequence[str]) -> dict[str, Array]:
        """The gates of `array` (G, ...), to the modules, some side by side."""
        gates = reorder(array, GATES[layer.cell], tree.gates)
        parts = [np.concatenate([*gates[m * wide : (m + 1) * wide]], axis=-1) for m in range(len(modules))]
        return dict(zip(modules, parts, strict=True))

    apart = np.zeros_like(weights.bias)
    if layer.cell == "gru":
        apart[GATES["gru"].index("n")] = weights.bias_n
    found: dict[str, Array] = {}
    for modules, kernel in ((over_x, weights.kernel), (over_h, weights.recurrent_kernel)):
        found |= {f"{module}/kernel": part for module, part in shared(kernel, modules).items()}
    first, second = (over_x, over_h) if biased & set(over_x) else (over_h, over_x)
    found |= {f"{module}/bias": part for module, part in shared(weights.bias, first).items()}
    for module, part in shared(apart, second).items():
        if module in biased:
            found[f"{module}/bias"] = part
        elif part.any():
            reason = f"layer {k} has a bias in the recurrent half of its candidate, and nnx.GRUCell has none there"
            raise UnsupportedError(target, reason, "convert to linen, which has (--to flax)")
    return found


def _zeros(network: Network) -> tuple[str, ...]:
    none = not all(d.has_bias for layer in network.layers for d in layer.directions)
    return ("cells of Flax always have a bias: where there was none, zeros are stored",) if none else ()

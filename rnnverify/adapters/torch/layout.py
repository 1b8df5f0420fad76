"""The canonical network as PyTorch's nn.RNN, nn.GRU and nn.LSTM hold it.

Layout (torch/nn/modules/rnn.py, 1.0.0 to 2.13.0): `weight_ih_l{k}` (G*H, I), `weight_hh_l{k}` (G*H, P), `bias_ih_l{k}`
and `bias_hh_l{k}` (G*H,), and `weight_hr_l{k}` (P, H) of a projected nn.LSTM, each again with `_reverse` where
bidirectional; `gates` has the gates. Layers that one module cannot hold are modules of their own, whose names
stand before those of their tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.adapters.layout import Layout, grouped, plain_names, widened, widest_dtype
from rnnverify.adapters.torch import gates as torch_gates
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError

_INSTEAD = "convert to a Keras file or a TensorFlow checkpoint"


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` in the layout of one module, or of several that feed each other.

    `names` are those of the modules, one a layer; without them a single module has no name. Raises UnsupportedError,
    about `target`, for what none of them can compute.
    """
    for k, layer in enumerate(network.layers):
        if reason := _beyond(layer):
            raise UnsupportedError(target, f"layer {k} {reason}", _INSTEAD)
    groups = grouped(network.layers, names, _fit_one_module)
    prefixes = [f"{name}." if name else "" for name in _modules(network.layers, groups, names)]
    tensors: dict[str, Array] = {}
    made = []
    for group, prefix in zip(groups, prefixes, strict=True):
        layers = [network.layers[k] for k in group]
        parameters = _parameters(layers, widest_dtype(layers))
        tensors.update({prefix + key: array for key, array in parameters.items()})
        made.append(_module(layers, prefix, list(parameters)))
    part = "+".join(prefix[:-1] for prefix in prefixes) if len(groups) > 1 else ""
    notes = [note for group in groups for note in _notes([network.layers[k] for k in group])]
    return Layout("torch", tuple(made), tensors, part, tuple(dict.fromkeys(notes)))


def _modules(layers: Sequence[Layer], groups: Sequence[tuple[int, ...]], names: Sequence[str]) -> list[str]:
    """The name of each module."""
    if names and len(set(names)) == len(groups):
        return [names[group[0]] for group in groups]
    return plain_names([layers[group[0]].name for group in groups], "rnn") if len(groups) > 1 else [""]


def _beyond(layer: Layer) -> str:
    """Why no module of torch.nn can compute `layer`; empty where one can."""
    own = f"nn.{layer.cell.upper()}"
    if layer.cell == "rnn" and layer.activation not in ("tanh", "relu"):
        return f"has the activation {layer.activation}, and {own} has tanh and relu only"
    if layer.bidirectional and layer.merge != "concat":
        return f"merges its directions by {layer.merge}, and {own} only concatenates them"
    if not layer.bidirectional and layer.directions[0].reverse:
        return f"runs backward only, and {own} runs forward or both ways"
    if _projected(layer) and layer.state_size >= layer.hidden_size:
        return f"is projected from {layer.hidden_size} units to {layer.state_size}, and {own} projects to fewer only"
    return torch_gates.beyond(layer) if layer.cell != "rnn" else ""


def _fit_one_module(below: Layer, above: Layer) -> bool:
    facts = [
        (_sizes(layer), layer.formula, layer.bidirectional, _has_bias([layer]), widest_dtype([layer]))
        for layer in (below, above)
    ]
    return facts[0] == facts[1]


def _sizes(layer: Layer) -> tuple[int, int]:
    """H, and P where the layer is projected, else 0."""
    return layer.hidden_size, layer.state_size if _projected(layer) else 0


def _projected(layer: Layer) -> bool:
    return any(direction.projection is not None for direction in layer.directions)


def _has_bias(layers: Sequence[Layer]) -> bool:
    return any(d.has_bias or d.bias.any() for layer in layers for d in layer.directions)  # a forget bias counts


def _parameters(layers: Sequence[Layer], dtype: np.dtype[Any]) -> dict[str, Array]:
    """The parameters of one module by name. A single bias goes to `bias_ih`, beside zeros in `bias_hh`."""
    found: dict[str, Array] = {}
    for k, layer in enumerate(layers):
        for direction in layer.directions:
            suffix = f"_l{k}" + ("_reverse" if direction.reverse else "")
            for kind, matrices in (("weight_ih", direction.kernel), ("weight_hh", direction.recurrent_kernel)):
                found[kind + suffix] = torch_gates.stacked(torch_gates.turned(matrices), layer.cell)
            if _has_bias(layers):
                found["bias_ih" + suffix] = torch_gates.stacked(direction.bias_input, layer.cell)
                found["bias_hh" + suffix] = torch_gates.stacked(direction.bias_recurrent, layer.cell)
            if direction.projection is not None:
                found["weight_hr" + suffix] = direction.projection.T
    return {name: np.ascontiguousarray(array, dtype) for name, array in found.items()}


def _module(layers: Sequence[Layer], prefix: str, keys: Sequence[str]) -> dict[str, object]:
    return {
        "module": layers[0].cell.upper(),
        "input_size": layers[0].input_size,
        "hidden_size": layers[0].hidden_size,
        "num_layers": len(layers),
        "bidirectional": layers[0].bidirectional,
        "bias": _has_bias(layers),
        "proj_size": _sizes(layers[0])[1],
        "nonlinearity": layers[0].activation,
        "dtype": widest_dtype(layers).name,
        "prefix": prefix,
        "keys": {key: prefix + key for key in keys},
    }


def _notes(layers: Sequence[Layer]) -> tuple[str, ...]:
    single = _has_bias(layers) and not any(d.bias_recurrent.any() for layer in layers for d in layer.directions)
    words = ("the one bias is bias_ih, and bias_hh is zeros",) if single else ()
    return (*words, *widened(layers, widest_dtype(layers)))

"""The canonical network as PyTorch's nn.RNN holds it.

Layout (torch/nn/modules/rnn.py, 1.0.0 to 2.13.0): `weight_ih_l{k}` (H, I), `weight_hh_l{k}` (H, H), `bias_ih_l{k}` and
`bias_hh_l{k}` (H,), each again with `_reverse` where bidirectional. Layers that one nn.RNN cannot hold are modules of
their own, whose names stand before those of their tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnverify.adapters.layout import Layout, grouped, plain_names, widened, widest_dtype
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError

_INSTEAD = "convert to a Keras file or a TensorFlow checkpoint"


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` in the layout of one nn.RNN, or of several that feed each other.

    `names` are those of the modules, one a layer; without them a single module has no name. Raises UnsupportedError,
    about `target`, for what nn.RNN cannot compute.
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
    """Why nn.RNN cannot compute `layer`; empty where it can."""
    if layer.activation not in ("tanh", "relu"):
        return f"has the activation {layer.activation}, and nn.RNN has tanh and relu only"
    if layer.bidirectional and layer.merge != "concat":
        return f"merges its directions by {layer.merge}, and nn.RNN only concatenates them"
    if not layer.bidirectional and layer.directions[0].reverse:
        return "runs backward only, and nn.RNN runs forward or both ways"
    return ""


def _fit_one_module(below: Layer, above: Layer) -> bool:
    facts = [
        (layer.hidden_size, layer.activation, layer.bidirectional, _has_bias([layer]), widest_dtype([layer]))
        for layer in (below, above)
    ]
    return facts[0] == facts[1]


def _has_bias(layers: Sequence[Layer]) -> bool:
    return any(direction.has_bias for layer in layers for direction in layer.directions)


def _parameters(layers: Sequence[Layer], dtype: np.dtype[Any]) -> dict[str, Array]:
    """The parameters of one nn.RNN by name. A single bias goes to `bias_ih`, beside zeros in `bias_hh`."""
    found: dict[str, Array] = {}
    for k, layer in enumerate(layers):
        for direction in layer.directions:
            suffix = f"_l{k}" + ("_reverse" if direction.reverse else "")
            found["weight_ih" + suffix] = direction.kernel[0].T
            found["weight_hh" + suffix] = direction.recurrent_kernel[0].T
            if _has_bias(layers):
                found["bias_ih" + suffix] = direction.bias_input[0]
                found["bias_hh" + suffix] = direction.bias_recurrent[0]
    return {name: np.ascontiguousarray(array, dtype) for name, array in found.items()}


def _module(layers: Sequence[Layer], prefix: str, keys: Sequence[str]) -> dict[str, object]:
    return {
        "module": "RNN",
        "input_size": layers[0].input_size,
        "hidden_size": layers[0].hidden_size,
        "num_layers": len(layers),
        "bidirectional": layers[0].bidirectional,
        "bias": _has_bias(layers),
        "nonlinearity": layers[0].activation,
        "dtype": widest_dtype(layers).name,
        "prefix": prefix,
        "keys": {key: prefix + key for key in keys},
    }


def _notes(layers: Sequence[Layer]) -> tuple[str, ...]:
    single = _has_bias(layers) and not any(d.bias_recurrent.any() for layer in layers for d in layer.directions)
    words = ("the one bias is bias_ih, and bias_hh is zeros",) if single else ()
    return (*words, *widened(layers, widest_dtype(layers)))

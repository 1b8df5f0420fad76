"""The canonical network as TensorFlow 1's BasicRNNCell holds it.

Layout (tensorflow/python/ops/rnn_cell_impl.py, 1.2 to 2.21): one `kernel` (I+H, H) over [x, h], the input's rows first,
and one `bias` (H,). Scopes: `rnn/basic_rnn_cell` under dynamic_rnn, `rnn/multi_rnn_cell/cell_0/basic_rnn_cell` in a
MultiRNNCell, `bidirectional_rnn/fw/basic_rnn_cell` under bidirectional_dynamic_rnn, and where those are stacked
`stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/...` (tensorflow/contrib/rnn/python/ops/rnn.py, 1.15).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rnnverify.adapters.layout import Layout, grouped, one_bias, plain_names, summed, way, widened
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError

_DIRECTIONS = ("fw", "bw")
_ACTIVATIONS = {"tanh", "relu", "linear", "sigmoid", "hard_sigmoid", "keras2_hard_sigmoid", "relu6", "leaky_relu"}
_ACTIVATIONS |= {"softsign", "softplus", "elu", "selu", "exponential", "silu", "gelu", "mish"}
"""What TensorFlow computes, and what is told again by the operations of its graph."""


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` as BasicRNNCells; `names` are the scopes of the networks that they are driven by, one a layer.

    Raises UnsupportedError, about `target`, for what the graph beside a checkpoint would not state.
    """
    layers, dtype = network.layers, network.dtype
    for k, layer in enumerate(layers):
        if reason := _beyond(layer, layers[k + 1 :]):
            raise UnsupportedError(target, f"layer {k} {reason}", "convert to a Keras file")
    groups = grouped(layers, names, lambda below, above: _kind(below) == _kind(above) != "reverse")
    tensors: dict[str, Array] = {}
    made = []
    scopes = _scopes(layers, groups, names)
    for group, scope in zip(groups, scopes, strict=True):
        cells = []
        for k, (below, own) in zip(group, _cells(layers[group[0]], len(group), scope), strict=True):
            layer = layers[k]
            for direction, cell in zip(layer.directions, own, strict=True):
                kernel = np.concatenate([direction.kernel[0], direction.recurrent_kernel[0]])
                tensors[f"{cell}/kernel"] = kernel.astype(dtype)
                tensors[f"{cell}/bias"] = one_bias(target, f"layer {k}{way(direction.reverse)}", direction, dtype)
            facts = {"units": layer.hidden_size, "activation": layer.activation, "merge": layer.merge, "scope": below}
            cells.append(facts)
        first = layers[group[0]]
        made.append(
            {"kind": _kind(first), "scope": scope, "cells": cells, "time_restored": first.time_restored},
        )
    part = "+".join(scopes) if len(groups) > 1 else ""
    notes = (*summed(layers), *_without_bias(layers), *widened(layers, dtype))
    return Layout("tensorflow", tuple(made), tensors, part, notes)


def _beyond(layer: Layer, above: Sequence[Layer]) -> str:
    """Why `layer` cannot be stored so that its graph states what it computes; empty where it can."""
    if layer.activation not in _ACTIVATIONS:
        return f"has the activation {layer.activation}, for which TensorFlow has no function"
    if layer.bidirectional and layer.merge == "ave":
        return "merges its directions by ave, which is not read from graphs of TensorFlow"
    if not layer.time_restored and above and any(direction.reverse for direction in above[0].directions):
        return "leaves its outputs reversed for another backward layer, and a graph does not tell those apart"
    return ""


def _kind(layer: Layer) -> str:
    if layer.bidirectional:
        return "both"
    return "reverse" if layer.directions[0].reverse else "forward"


def _scopes(layers: Sequence[Layer], groups: Sequence[tuple[int, ...]], names: Sequence[str]) -> list[str]:
    """The scope of each group: the default of the function that drives it, where there is one group only."""
    if names and len(set(names)) == len(groups):
        return list(dict.fromkeys(names))
    if len(groups) > 1:
        return [
            name + "_rnn" * (name in _DIRECTIONS) for name in plain_names([layers[g[0]].name for g in groups], "rnn")
        ]
    if _kind(layers[0]) == "both":
        return ["stack_bidirectional_rnn" if len(layers) > 1 else "bidirectional_rnn"]
    return ["rnn"]


def _cells(first: Layer, count: int, scope: str) -> Iterator[tuple[str, list[str]]]:
    """For each layer of a group its scope, and those of its cells, one a direction."""
    for k in range(count):
        if first.bidirectional:
            below = f"{scope}/cell_{k}/bidirectional_rnn" if count > 1 else scope
            yield below, [f"{below}/{direction}/basic_rnn_cell" for direction in _DIRECTIONS]
        else:
            yield scope, [f"{scope}/multi_rnn_cell/cell_{k}/basic_rnn_cell" if count > 1 else f"{scope}/basic_rnn_cell"]


def _without_bias(layers: Sequence[Layer]) -> tuple[str, ...]:
    without = any(not d.has_bias for layer in layers for d in layer.directions)
    return ("a BasicRNNCell always has a bias: where there was none, zeros are stored",) if without else ()

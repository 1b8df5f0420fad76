"""The canonical network as the cells of TensorFlow 1 hold it.

Layout (tensorflow/python/ops/rnn_cell_impl.py, 1.2 to 2.21): a `kernel` over [x, h], the input's rows first, and a
`bias`; `written` has the cells. Scopes: `rnn/basic_rnn_cell` under dynamic_rnn,
`rnn/multi_rnn_cell/cell_0/basic_rnn_cell` in a MultiRNNCell, `bidirectional_rnn/fw/basic_rnn_cell` under
bidirectional_dynamic_rnn, and where those are stacked `stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/...`
(tensorflow/contrib/rnn/python/ops/rnn.py, 1.15); the last word is that of the cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnverify.adapters.layout import Layout, grouped, plain_names, summed, way, widened
from rnnverify.adapters.tensorflow.written import arrays_of, beyond, class_of, facts_of, scope_of
from rnnverify.canonical import Array, Layer, Network
from rnnverify.errors import UnsupportedError

_DIRECTIONS = ("fw", "bw")
_ACTIVATIONS = {"tanh", "relu", "linear", "sigmoid", "hard_sigmoid", "keras2_hard_sigmoid", "relu6", "leaky_relu"}
_ACTIVATIONS |= {"softsign", "softplus", "elu", "selu", "exponential", "silu", "gelu", "mish"}
"""What TensorFlow computes, and what is told again by the operations of its graph."""


def lay_out(network: Network, target: Path, names: Sequence[str] = ()) -> Layout:
    """`network` as cells of TensorFlow; `names` are the scopes of the networks that they are driven by, one a layer.

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
        for k, (below, own) in zip(group, _cells([layers[k] for k in group], scope), strict=True):
            layer = layers[k]
            for direction, cell in zip(layer.directions, own, strict=True):
                where = f"layer {k}{way(direction.reverse)}"
                arrays = arrays_of(layer, direction, where, target, dtype)
                tensors |= {f"{cell}/{name}": array for name, array in arrays.items()}
            cells.append({**facts_of(layer), "merge": layer.merge, "scope": below})
        first = layers[group[0]]
        made.append(
            {"kind": _kind(first), "scope": scope, "cells": cells, "time_restored": first.time_restored},
        )
    part = "+".join(scopes) if len(groups) > 1 else ""
    notes = (*summed(layers), *_without_bias(layers), *_adding(layers), *widened(layers, dtype))
    return Layout("tensorflow", tuple(made), tensors, part, notes)


def _beyond(layer: Layer, above: Sequence[Layer]) -> str:
    """Why `layer` cannot be stored so that its graph states what it computes; empty where it can."""
    if layer.activation not in _ACTIVATIONS:
        return f"has the activation {layer.activation}, for which TensorFlow has no function"
    if layer.bidirectional and layer.merge == "ave":
        return "merges its directions by ave, which is not read from graphs of TensorFlow"
    if not layer.time_restored and above and any(direction.reverse for direction in above[0].directions):
        return "leaves its outputs reversed for another backward layer, and a graph does not tell those apart"
    return beyond(layer)


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


def _cells(layers: Sequence[Layer], scope: str) -> Iterator[tuple[str, list[str]]]:
    """For each layer of a group its scope, and those of its cells, one a direction."""
    for k, layer in enumerate(layers):
        cell = scope_of(layer)
        if layer.bidirectional:
            below = f"{scope}/cell_{k}/bidirectional_rnn" if len(layers) > 1 else scope
            yield below, [f"{below}/{direction}/{cell}" for direction in _DIRECTIONS]
        else:
            yield scope, [f"{scope}/multi_rnn_cell/cell_{k}/{cell}" if len(layers) > 1 else f"{scope}/{cell}"]


def _without_bias(layers: Sequence[Layer]) -> tuple[str, ...]:
    without = {class_of(layer) for layer in layers for d in layer.directions if not d.has_bias}
    names = " and a ".join(sorted(without))
    return (f"a {names} always has a bias: where there was none, zeros are stored",) if without else ()


def _adding(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What is added at run time, which no checkpoint holds, and the graph beside it states."""
    added = {bias for layer in layers if layer.cell == "lstm" for bias in facts_of(layer)["forget_bias"]}
    shown = " and ".join(f"{bias:g}" for bias in sorted(added))
    return (f"its LSTM cells have a forget_bias of {shown}, by which the bias stored is less",) if added else ()

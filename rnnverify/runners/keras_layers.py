"""The recurrent layers of Keras: made anew around the file's own arrays, or again from a loaded layer's own.

A layer of the request: {"name", "path": [outer sub-models ..., name], "kind": class, "RNN" for cells that a user put
together, "cells": [{"units", "use_bias", "cudnn"}], "go_backwards", "bidirectional", "merge_mode", "tensors": [[names
of each cell, in the file's order] forward, [...] backward]}. `described` puts what the reader found out beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from any_keras import keras

LAYERS: Any = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}
CELLS: Any = {"rnn": keras.layers.SimpleRNNCell, "gru": keras.layers.GRUCell, "lstm": keras.layers.LSTMCell}


def zeros(self: Any, shape: Any, dtype: Any = None, **options: Any) -> Any:  # noqa: ARG001 - as Initializer.__call__
    return tf.zeros(shape, dtype or tf.float32)


class ZeroInitializers:
    """While open, initial weights are zeros: the orthogonal ones take seconds, and every one is overwritten."""

    def __enter__(self) -> None:
        base = keras.initializers.Initializer
        classes = {value for value in vars(keras.initializers).values() if isinstance(value, type)}
        self.saved = [(c, c.__call__) for c in classes if issubclass(c, base) and c is not base]
        for c, _ in self.saved:
            setattr(c, "__call__", zeros)  # noqa: B010 - mypy takes a plain assignment for a mistake

    def __exit__(self, *exception: Any) -> None:
        for c, call in self.saved:
            setattr(c, "__call__", call)  # noqa: B010 - as above


def keras2_hard_sigmoid(x: Any) -> Any:
    """What Keras called hard_sigmoid before version 3."""
    return tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)


def keras3_hard_sigmoid(x: Any) -> Any:
    """What it calls so since."""
    return tf.clip_by_value(x / 6.0 + 0.5, 0.0, 1.0)


OWN = {"keras2_hard_sigmoid": keras2_hard_sigmoid}
if not hasattr(keras, "ops"):
    OWN["hard_sigmoid"] = keras3_hard_sigmoid
for function in OWN.values():  # Bidirectional writes its layer down, and makes it again
    keras.utils.get_custom_objects()[function.__name__] = function


def named(activation: Any) -> Any:
    return OWN.get(activation, activation)


def described(job: dict[str, Any]) -> Any:
    """The layers of the request, each cell with its "activation", and "cell", "gate_activation" and "reset_after"."""
    facts = iter([dict(gates, activation=name) for gates, name in zip(job["gates"], job["activations"])])
    return [dict(spec, cells=[dict(cell, **next(facts)) for cell in spec["cells"]]) for spec in job["layers"]]


def rebuilt(spec: Any, tensors: Any, dtype: Any) -> Any:
    """The layer of `spec` with the arrays of the file."""
    layer = made(spec, spec["go_backwards"], dtype, "forward")
    if spec["bidirectional"]:
        backward = made(spec, not spec["go_backwards"], dtype, "backward")
        mode = spec["merge_mode"] or "concat"
        layer = keras.layers.Bidirectional(layer, merge_mode=mode, backward_layer=backward, dtype=dtype)
    weights = [
        array
        for cells in spec["tensors"]
        for cell, names in zip(spec["cells"], cells)
        for array in as_keras3(cell, [np.asarray(tensors[name]) for name in names])
    ]
    return with_weights(layer, weights)


def made(spec: Any, go_backwards: Any, dtype: Any, name: Any) -> Any:
    """One direction of a layer, without weights yet, which returns every step and its states."""
    options = {"go_backwards": go_backwards, "return_sequences": True, "return_state": True, "name": name}
    if spec["kind"] != "RNN":
        (cell,) = spec["cells"]
        return LAYERS[cell["cell"]](**cell_options(cell, dtype), **options)
    cells = [CELLS[cell["cell"]](**cell_options(cell, dtype)) for cell in spec["cells"]]
    return keras.layers.RNN(cells if len(cells) > 1 else cells[0], dtype=dtype, **options)


def cell_options(cell: Any, dtype: Any) -> Any:
    options = {"units": cell["units"], "use_bias": cell["use_bias"], "dtype": dtype}
    options["activation"] = named(cell["activation"])
    if cell["cell"] != "rnn":
        options["recurrent_activation"] = named(cell["gate_activation"])
    if cell["cell"] == "gru":
        options["reset_after"] = cell["reset_after"]
    return options


def as_keras3(cell: Any, arrays: Any) -> Any:
    """The arrays of one cell, as the file has them, as the `set_weights` of Keras 3 takes them.

    The same is done by Keras 2 to the files of Keras 1 and of cuDNN's layers: `preprocess_weights_for_loading` in
    keras/engine/saving.py (2.2.4).
    """
    if cell["cell"] == "rnn":
        return arrays
    gates = {"gru": 3, "lstm": 4}[cell["cell"]]
    if cell["cudnn"]:
        kernels, recurrent = (np.split(array, gates, axis=1) for array in arrays[:2])
        turned = [kernel.T.reshape(kernel.shape, order="F") for kernel in kernels]
        halves = arrays[2].reshape(2, -1)
        bias = halves if cell["cell"] == "gru" else halves[0] + halves[1]
        return [np.concatenate(turned, axis=1), np.concatenate([u.T for u in recurrent], axis=1), bias]
    if len(arrays) == 3 * gates:  # one of each gate; those of an LSTM are listed i, c, f, o and stored i, f, c, o
        order = {"gru": [0, 1, 2], "lstm": [0, 2, 1, 3]}[cell["cell"]]
        return [np.concatenate([arrays[3 * gate + role] for gate in order], axis=-1) for role in range(3)]
    return arrays


def clone(layer: Any, dtype: Any, **changes: Any) -> Any:
    """`layer` again, from its own config and weights, with only its outputs widened to all steps and states."""
    if isinstance(layer, keras.layers.Bidirectional):
        forward, backward = clone(layer.forward_layer, dtype), clone(layer.backward_layer, dtype)
        mode = layer.merge_mode or "concat"
        other = keras.layers.Bidirectional(forward, merge_mode=mode, backward_layer=backward, dtype=dtype)
        return with_weights(other, layer.get_weights())
    config = layer.get_config()
    config.update(return_sequences=True, return_state=True, stateful=False, unroll=False, dtype=dtype)
    config.update(zero_output_for_mask=False, **changes)
    if isinstance(layer, tuple(LAYERS.values())):
        own: Any = type(layer)
        other = own.from_config(config)
    else:
        cells = layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
        clones = [type(cell).from_config(dict(cell.get_config(), dtype=dtype)) for cell in cells]
        options = {key: config[key] for key in ("go_backwards", "return_sequences", "return_state", "dtype")}
        other = keras.layers.RNN(clones if len(clones) > 1 else clones[0], **options)
    return with_weights(other, layer.get_weights())


def with_weights(layer: Any, weights: Any) -> Any:
    layer.build((None, None, weights[0].shape[0]))
    layer.set_weights(weights)
    for single in directions_of(layer):
        single.use_cudnn = False  # cuDNN's kernels round otherwise, and cannot be traced where there is no GPU
    return layer


def directions_of(layer: Any) -> Any:
    return [layer.forward_layer, layer.backward_layer] if isinstance(layer, keras.layers.Bidirectional) else [layer]

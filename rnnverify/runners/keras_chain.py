"""A chain of Keras layers as the model that `exchange` runs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf
from any_keras import keras, traced
from keras_layers import clone, directions_of, named

MODELS: Any = {}  # by configuration


def model_of(how: str, layers: Any, specs: Any, job: dict[str, Any]) -> Any:
    """The chain of `layers`, those that were "loaded" made to return every step and their states.

    Making and tracing a chain takes longer than running it: where one was made of layers of the same configuration,
    that one gets the weights of these.
    """
    facts = [how, job["dtype"], job["input_size"], [dict(spec, tensors=None, path=None, name=None) for spec in specs]]
    key = json.dumps(
        [facts, [nameless(keras.layers.serialize(layer)) for layer in layers]], sort_keys=True, default=str
    )
    if key in MODELS:
        for known, layer in zip(MODELS[key].keras_layers, layers):
            known.set_weights(layer.get_weights())
    elif how == "loaded":
        MODELS[key] = Model([clone(layer, job["dtype"]) for layer in layers], specs, job)
    else:
        MODELS[key] = Model(layers, specs, job)
    return MODELS[key]


def nameless(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: nameless(value) for key, value in config.items() if key != "name"}
    return [nameless(value) for value in config] if isinstance(config, (list, tuple)) else config


class Model:
    """A chain of Keras layers as one tf.function."""

    def __init__(self, layers: Any, specs: Any, job: dict[str, Any]) -> None:
        self.keras_layers = layers
        self.specs = specs
        self.state_sizes = [sizes for spec in specs for sizes in widths(spec) * (1 + spec["bidirectional"])]
        self.backward = any(spec["bidirectional"] or spec["go_backwards"] for spec in self.specs)
        dtype = tf.as_dtype(job["dtype"])  # one trace for every length and number of sequences
        x = tf.TensorSpec([None, None, job["input_size"]], dtype)
        states = [tf.TensorSpec([None, size], dtype) for sizes in self.state_sizes for size in sizes]
        self.call = tf.function(self.chain, input_signature=[x, states])
        self.call_masked = tf.function(self.chain, input_signature=[x, states, tf.TensorSpec([None, None], tf.bool)])
        self.dtype = job["dtype"]

    def chain(self, x: Any, states: Any, mask: Any = None) -> Any:
        """With a `mask` (b, t), where it is False a state stays as it is."""
        shown, finals = [], []
        for layer, spec in zip(self.keras_layers, self.specs):
            count = sum(map(len, widths(spec))) * (1 + spec["bidirectional"])
            result = layer(x, initial_state=nested(spec, states[:count]), mask=mask, training=False)
            if len(self.state_sizes) > 1:
                shown += self.parts(layer, spec, (x, mask), result[0], states[:count])
            x, last = result[0], result[1:]
            finals += flat(last)
            states = states[count:]
        return [x, *shown], finals

    def parts(self, layer: Any, spec: Any, inputs: Any, y: Any, states: Any) -> Any:
        """The states of each direction, or of each stacked cell, in the order in which the layer emits them."""
        x, mask = inputs
        if spec["bidirectional"]:
            if layer.merge_mode == "concat":
                return tf.split(y, 2, axis=2)
            half = len(states) // 2
            forward = layer.forward_layer(x, initial_state=states[:half], mask=mask, training=False)[0]
            backward = layer.backward_layer(x, initial_state=states[half:], mask=mask, training=False)[0]
            return [forward, tf.reverse(backward, [1])]
        if len(spec["cells"]) == 1:
            return [y]
        shown = []
        for k, cell in enumerate(layer.cell.cells):  # stacked cells show the last one only: run them one by one
            count = len(widths(spec)[k])
            single = keras.layers.RNN(cell, return_sequences=True, go_backwards=layer.go_backwards and k == 0)
            x = single(x, initial_state=states[:count], mask=mask, training=False)
            shown.append(x)
            states = states[count:]
        return shown

    def run(self, x: Any, states: Any) -> Any:
        outputs, finals = self.call(tf.constant(x, self.dtype), [tf.constant(h, self.dtype) for h in states])
        return [as_array(output) for output in outputs], [as_array(h) for h in finals]

    def run_padded(self, x: Any, states: Any, lengths: Any) -> Any:
        mask = tf.constant(np.arange(x.shape[1]) < lengths[:, None])
        inputs = tf.constant(x, self.dtype), [tf.constant(h, self.dtype) for h in states]
        outputs, finals = self.call_masked(*inputs, mask)
        return [as_array(output) for output in outputs], [as_array(h) for h in finals]

    def dense(self, y: Any, kernel: Any, bias: Any, activation: str) -> Any:
        options = {"activation": named(activation), "use_bias": bias is not None, "dtype": self.dtype}
        layer = keras.layers.Dense(kernel.shape[1], **options)
        layer.build(y.shape)
        layer.set_weights([kernel] if bias is None else [kernel, bias])
        return as_array(layer(tf.constant(y, self.dtype)))

    @property
    def layers(self) -> Any:
        """Each layer as directions that run forward: `exchange.layer_by_layer` turns the time for long runs."""
        return [self.split(*pair) for pair in zip(self.keras_layers, self.specs)]

    def split(self, layer: Any, spec: Any) -> Any:
        if len(spec["cells"]) > 1:
            raise ValueError("stacked cells in a backward layer are run in one piece, of at most 1000 steps")
        directions = []
        for single in directions_of(layer):
            forward = clone(single, self.dtype, go_backwards=False)
            directions.append((single.go_backwards, one_direction(forward, self.dtype)))
        return spec["merge_mode"] or "concat", spec["bidirectional"], directions


def widths(spec: Any) -> Any:
    """(H,) of every cell, (H, H) of one of an LSTM."""
    return [(cell["units"],) * (2 if cell["cell"] == "lstm" else 1) for cell in spec["cells"]]


def nested(spec: Any, states: Any) -> Any:
    """Flat states as Keras wants them: one list, but for stacked cells a list of their lists."""
    if len(spec["cells"]) == 1:
        return states
    left, found = list(states), []
    for sizes in widths(spec):
        own, left = left[: len(sizes)], left[len(sizes) :]
        found.append(own if len(own) > 1 else own[0])
    return found


def flat(states: Any) -> Any:
    """Every state: an old Keras hands out lists of them. In plain loops, the only ones that TensorFlow 1 can trace."""
    found = []
    for state in states:
        found += list(state) if isinstance(state, (list, tuple)) else [state]
    return found


def as_array(tensor: Any) -> Any:
    return (tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor).numpy()


def one_direction(layer: Any, dtype: Any) -> Any:
    call = traced(lambda x, states: layer(x, initial_state=states, training=False))

    def run(x: Any, states: Any) -> Any:
        y, *last = call(tf.constant(x, dtype), [tf.constant(state, dtype) for state in states])
        return as_array(y), [as_array(state) for state in last]

    return run

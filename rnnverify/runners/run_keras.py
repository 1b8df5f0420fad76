"""Run a Keras file: load_model where today's Keras opens it, else the framework's own layer with the file's own arrays.

Layers of the request: {"name", "path": [outer sub-models ..., name], "kind": "SimpleRNN" | "RNN", "cells": [{"units",
"use_bias"}], "go_backwards", "bidirectional", "merge_mode", "tensors": [[forward, in set_weights order], [backward]]}.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import tensorflow as tf
from any_keras import LOADER, keras, load_model, traced
from exchange import load_tensors, run_batches


def run(job: dict[str, Any]) -> Any:
    model, loaded, why = None, "", job["why_not"]
    with ZeroInitializers():
        if job["loadable"]:
            try:
                model = model_of("loaded", loaded_layers(job), job)
                loaded = LOADER
            except Exception as error:  # Keras 3 refuses most older files, in many ways
                why = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0][:120]
        if model is None:
            model = model_of("rebuilt", rebuilt_layers(job), job)
    outputs = run_batches(job, model)
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(model.keras_layers)}


def names(layers: Any) -> Any:
    return ", ".join(sorted({"keras.layers." + type(layer).__name__ for layer in layers}))


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


def loaded_layers(job: dict[str, Any]) -> Any:
    """The recurrent layers of the model as Keras itself loads it."""
    path = job["path"]
    model = None
    with open(path, "rb") as file:
        suffix = ".keras" if file.read(2) == b"PK" else ".h5"
    if not path.endswith(suffix):  # Keras tells forms by suffix
        link = os.path.join(job["folder"], "model" + suffix)
        os.symlink(os.path.abspath(path), link)
        path = link
    model = load_model(path, job.get("trusted"))
    return [find(model, layer["path"]) for layer in job["layers"]]


def find(model: Any, path: str) -> Any:
    for name in path:
        model = model.get_layer(name)
    return model


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
    if isinstance(layer, keras.layers.SimpleRNN):
        other = keras.layers.SimpleRNN.from_config(config)
    else:
        cells = layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
        clones = [type(cell).from_config(dict(cell.get_config(), dtype=dtype)) for cell in cells]
        options = {key: config[key] for key in ("go_backwards", "return_sequences", "return_state", "dtype")}
        other = keras.layers.RNN(clones if len(clones) > 1 else clones[0], **options)
    return with_weights(other, layer.get_weights())


def with_weights(layer: Any, weights: Any) -> Any:
    layer.build((None, None, weights[0].shape[0]))
    layer.set_weights(weights)
    return layer


def rebuilt_layers(job: dict[str, Any]) -> Any:
    tensors = load_tensors(job)
    activations = iter(job["activations"])
    layers = []
    for spec in job["layers"]:
        used = [activation_named(next(activations)) for _ in spec["cells"]]
        forward = rebuilt(spec, used, spec["go_backwards"], job["dtype"], "forward")
        if spec["bidirectional"]:
            backward = rebuilt(spec, used, not spec["go_backwards"], job["dtype"], "backward")
            mode = spec["merge_mode"] or "concat"
            layer = keras.layers.Bidirectional(forward, merge_mode=mode, backward_layer=backward, dtype=job["dtype"])
        else:
            layer = forward
        weights = [np.asarray(tensors[name]) for names in spec["tensors"] for name in names]
        layers.append(with_weights(layer, weights))
    return layers


def rebuilt(spec: Any, activations: Any, go_backwards: Any, dtype: Any, name: Any) -> Any:
    options = {"go_backwards": go_backwards, "return_sequences": True, "return_state": True, "dtype": dtype}
    sizes = [(cell["units"], cell["use_bias"]) for cell in spec["cells"]]
    if spec["kind"] == "SimpleRNN":
        (units, use_bias) = sizes[0]
        return keras.layers.SimpleRNN(units, activation=activations[0], use_bias=use_bias, name=name, **options)
    cells = [
        keras.layers.SimpleRNNCell(units, activation=activation, use_bias=use_bias, dtype=dtype)
        for (units, use_bias), activation in zip(sizes, activations)
    ]
    return keras.layers.RNN(cells if len(cells) > 1 else cells[0], name=name, **options)


def activation_named(name: Any) -> Any:
    if name == "keras2_hard_sigmoid":  # what Keras called hard_sigmoid before version 3
        return lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0)
    return name


MODELS: Any = {}  # by configuration


def model_of(how: str, layers: Any, job: dict[str, Any]) -> Any:
    """The chain of `layers`, those that were "loaded" made to return every step and their states.

    Making and tracing a chain takes longer than running it: where one was made of layers of the same configuration,
    that one gets the weights of these.
    """
    facts = [
        how,
        job["dtype"],
        job["input_size"],
        [dict(spec, tensors=None, path=None, name=None) for spec in job["layers"]],
    ]
    key = json.dumps(
        [facts, [nameless(keras.layers.serialize(layer)) for layer in layers]], sort_keys=True, default=str
    )
    if key in MODELS:
        for traced, layer in zip(MODELS[key].keras_layers, layers):
            traced.set_weights(layer.get_weights())
    elif how == "loaded":
        MODELS[key] = Model([clone(layer, job["dtype"]) for layer in layers], job)
    else:
        MODELS[key] = Model(layers, job)
    return MODELS[key]


def nameless(config: Any) -> Any:
    if isinstance(config, dict):
        return {key: nameless(value) for key, value in config.items() if key != "name"}
    return [nameless(value) for value in config] if isinstance(config, (list, tuple)) else config


class Model:
    """A chain of Keras layers as one tf.function."""

    def __init__(self, layers: Any, job: dict[str, Any]) -> None:
        self.keras_layers = layers
        self.specs = job["layers"]
        self.state_sizes = []
        for spec in self.specs:
            sizes = [(cell["units"],) for cell in spec["cells"]]
            self.state_sizes += sizes * (2 if spec["bidirectional"] else 1)
        self.backward = any(spec["bidirectional"] or spec["go_backwards"] for spec in self.specs)
        dtype = tf.as_dtype(job["dtype"])  # one trace for every length and number of sequences
        x = tf.TensorSpec([None, None, job["input_size"]], dtype)
        states = [tf.TensorSpec([None, size], dtype) for sizes in self.state_sizes for size in sizes]
        self.call = tf.function(self.chain, input_signature=[x, states])
        self.dtype = job["dtype"]

    def chain(self, x: Any, states: Any) -> Any:
        shown, finals = [], []
        for layer, spec in zip(self.keras_layers, self.specs):
            count = len(spec["cells"]) * (2 if spec["bidirectional"] else 1)
            result = layer(x, initial_state=states[:count], training=False)
            if len(self.state_sizes) > 1:
                shown += self.parts(layer, spec, x, result[0], states[:count])
            x, last = result[0], result[1:]
            finals += flat(last)
            states = states[count:]
        return [x, *shown], finals

    def parts(self, layer: Any, spec: Any, x: Any, y: Any, states: Any) -> Any:
        """The states of each direction, or of each stacked cell, in the order in which the layer emits them."""
        if spec["bidirectional"]:
            if layer.merge_mode == "concat":
                return tf.split(y, 2, axis=2)
            forward = layer.forward_layer(x, initial_state=states[:1], training=False)[0]
            backward = layer.backward_layer(x, initial_state=states[1:], training=False)[0]
            return [forward, tf.reverse(backward, [1])]
        if len(spec["cells"]) == 1:
            return [y]
        shown = []
        for k, cell in enumerate(layer.cell.cells):  # stacked cells show the last one only: run them one by one
            single = keras.layers.RNN(cell, return_sequences=True, go_backwards=layer.go_backwards and k == 0)
            x = single(x, initial_state=states[k : k + 1], training=False)
            shown.append(x)
        return shown

    def run(self, x: Any, states: Any) -> Any:
        outputs, finals = self.call(tf.constant(x, self.dtype), [tf.constant(h, self.dtype) for h in states])
        return [as_array(output) for output in outputs], [as_array(h) for h in finals]

    @property
    def layers(self) -> Any:
        """Each layer as directions that run forward: `exchange.layer_by_layer` turns the time for long runs."""
        return [self.split(*pair) for pair in zip(self.keras_layers, self.specs)]

    def split(self, layer: Any, spec: Any) -> Any:
        if len(spec["cells"]) > 1:
            raise ValueError("stacked cells in a backward layer are run in one piece, of at most 1000 steps")
        own = [layer.forward_layer, layer.backward_layer] if spec["bidirectional"] else [layer]
        directions = []
        for single in own:
            forward = clone(single, self.dtype, go_backwards=False)
            directions.append((single.go_backwards, one_direction(forward, self.dtype)))
        return spec["merge_mode"] or "concat", spec["bidirectional"], directions


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

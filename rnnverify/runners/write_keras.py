"""Write a Keras file: a Sequential model of the layers that hold the weights, saved by Keras itself.

Layers of the request: {"class": "SimpleRNN" | "GRU" | "LSTM", "bidirectional", "name", "units", "activation", "gates":
{"recurrent_activation", "reset_after"} as far as the class has them, "use_bias", "go_backwards", "merge_mode", "dtype",
"tensors": [[forward, in set_weights order], [backward]]}.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

from typing import Any

import keras
import numpy as np
from exchange import load_tensors
from keras_layers import ZeroInitializers


def write(job: dict[str, Any]) -> Any:
    tensors = load_tensors(job)
    with ZeroInitializers():
        layers = [made(spec) for spec in job["layers"]]
        inputs = keras.Input((None, job["input_size"]), dtype=job["layers"][0]["dtype"])
        model = keras.Sequential([inputs, *layers])
    for layer, spec in zip(layers, job["layers"]):
        layer.set_weights([np.array(tensors[name]) for names in spec["tensors"] for name in names])
    if job["write"]["form"] == "weights.h5":
        model.save_weights(job["write"]["path"])
        return {"written": "keras.Model.save_weights"}
    model.save(job["write"]["path"])
    return {"written": "keras.Model.save"}


def made(spec: Any) -> Any:
    options = dict(spec["gates"], activation=spec["activation"], use_bias=spec["use_bias"], dtype=spec["dtype"])
    options["return_sequences"] = True
    layer: Any = getattr(keras.layers, spec["class"])
    if not spec["bidirectional"]:
        return layer(spec["units"], go_backwards=spec["go_backwards"], name=spec["name"], **options)
    forward = layer(spec["units"], name="rnn", **options)
    return keras.layers.Bidirectional(forward, merge_mode=spec["merge_mode"], name=spec["name"], dtype=spec["dtype"])

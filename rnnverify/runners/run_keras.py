"""Run a Keras file: load_model where today's Keras opens it, else the framework's own layer with the file's own arrays.

What a layer of the request is, `keras_layers` says.
"""

from __future__ import annotations

import os
from typing import Any

from any_keras import LOADER, load_model
from exchange import in_a_line, load_tensors, run_batches
from keras_chain import model_of
from keras_layers import ZeroInitializers, described, rebuilt


def run(job: dict[str, Any]) -> Any:
    model, loaded, why = None, "", job["why_not"]
    specs = described(job)
    with ZeroInitializers():
        if job["loadable"]:
            try:
                model = model_of("loaded", loaded_layers(job), specs, job)
                loaded = LOADER
            except Exception as error:  # Keras 3 refuses most older files, in many ways
                why = in_a_line(error)
        if model is None:
            tensors = load_tensors(job)
            layers = [rebuilt(spec, tensors, job["dtype"]) for spec in specs]
            model = model_of("rebuilt", layers, specs, job)
    outputs = run_batches(job, model)
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": names(model.keras_layers)}


def names(layers: Any) -> Any:
    return ", ".join(sorted({"keras.layers." + type(layer).__name__ for layer in layers}))


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

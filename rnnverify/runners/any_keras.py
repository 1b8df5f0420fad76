"""Keras as this interpreter has it: Keras 3 or 2, or the one inside TensorFlow 1.15 to 2.15, in eager mode."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

from typing import Any

import tensorflow as tf

try:
    import keras

    if not hasattr(keras, "__internal__") and not hasattr(keras, "ops"):
        raise ImportError("Keras before 2.4 is one of several backends, whose layers no tf.function holds")
except ImportError:
    from tensorflow import keras

LOADER = "keras.saving.load_model" if hasattr(keras, "ops") else "keras.models.load_model"

if not tf.executing_eagerly():  # TensorFlow 1
    tf.compat.v1.enable_v2_behavior()


def load_model(path: str, trusted: bool) -> Any:
    """The model in a file, by the framework's own loader. Before Keras 3 it is the caller who kept code away."""
    if hasattr(keras, "ops"):
        return keras.saving.load_model(path, compile=False, safe_mode=not trusted)
    return keras.models.load_model(path, compile=False)


def traced(function: Any) -> Any:
    """`function` as one graph for every length and number of sequences."""
    try:
        return tf.function(function, reduce_retracing=True)
    except TypeError:  # its name before TensorFlow 2.9
        return tf.function(function, experimental_relax_shapes=True)

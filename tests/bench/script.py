"""What people write by hand: load each file in its framework, run it, print the largest difference to the first.

The baseline of the benchmark. Arguments are model files; the framework is told by the suffix.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np

H = 8
X = np.random.default_rng(0).normal(size=(8, 32, 5)).astype(np.float32)


def run_keras(path: str) -> Any:
    import keras

    return keras.models.load_model(path, compile=False).predict(X, verbose=0)


def run_torch(path: str) -> Any:
    import torch

    module = torch.nn.RNN(X.shape[2], H, batch_first=True)
    module.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        return module(torch.from_numpy(X))[0].numpy()


def run_tensorflow(path: str) -> Any:
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, X.shape)
        y, _ = v1.nn.dynamic_rnn(v1.nn.rnn_cell.BasicRNNCell(H), x, dtype=tf.float32)
        v1.train.Saver().restore(session, path)
        return session.run(y, {x: X})


if __name__ == "__main__":
    outputs = []
    for argument in sys.argv[1:]:
        run = run_keras if argument.endswith(".h5") else run_torch if argument.endswith(".pt") else run_tensorflow
        outputs.append(run(argument))
    print([float(np.abs(y - outputs[0]).max()) for y in outputs])

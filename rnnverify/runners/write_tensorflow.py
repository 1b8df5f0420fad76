"""Write a TensorFlow checkpoint: its cells in a real graph, saved by tf.compat.v1.train.Saver, the graph beside it.

Layers of the request, bottom to top, each a network that feeds the next: {"kind": "forward" (dynamic_rnn over one cell,
or over a MultiRNNCell), "reverse" (over reversed steps) or "both" (bidirectional_dynamic_rnn for each cell), "scope",
"cells": [{"class", "units", "activation", "merge", "scope": of the network that drives it, of an LSTM "forget_bias":
one for each direction, and of an LSTMCell "peepholes", "projection" and "cell_clip"}], "time_restored": whether a
reverse one turns its outputs back}. Each variable of the graph takes the tensor of its own name.
"""

from __future__ import annotations

from typing import Any

from exchange import load_tensors
from run_tensorflow import MERGE
from tensorflow_cells import activation_named, tf

v1 = tf.compat.v1


def write(job: dict[str, Any]) -> Any:
    tensors = load_tensors(job)
    dtype = tf.as_dtype(next(iter(tensors.values())).dtype)
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(dtype, [None, None, job["input_size"]], name="x")
        for spec in job["layers"]:
            x = driven(spec, x, dtype)
        tf.identity(x, name="y")
        variables = {variable.op.name: variable for variable in v1.global_variables()}
        if set(variables) != set(tensors):
            raise ValueError("the graph has %s, wanted %s" % (sorted(variables), sorted(tensors)))
        for name, variable in variables.items():
            variable.load(tensors[name], session)
        saver = v1.train.Saver(variables, write_version=v1.train.SaverDef.V2)
        saver.save(session, job["write"]["path"], write_state=False)
    return {"written": "tf.compat.v1.train.Saver.save"}


def driven(spec: Any, x: Any, dtype: Any) -> Any:
    """x (B, T, I) through one network of the request; what it hands on (B, T, F)."""
    if spec["kind"] == "both":
        for each in spec["cells"]:
            parts, _ = v1.nn.bidirectional_dynamic_rnn(cell(each), cell(each, 1), x, dtype=dtype, scope=each["scope"])
            x = MERGE[each["merge"]](parts)
        return x
    cells = [cell(each) for each in spec["cells"]]
    driver = v1.nn.rnn_cell.MultiRNNCell(cells) if len(cells) > 1 else cells[0]
    reverse = spec["kind"] == "reverse"
    y, _ = v1.nn.dynamic_rnn(driver, tf.reverse(x, [1]) if reverse else x, dtype=dtype, scope=spec["scope"])
    return tf.reverse(y, [1]) if reverse and spec["time_restored"] else y


def cell(spec: Any, direction: int = 0) -> Any:
    options = {"activation": activation_named(spec["activation"])}
    if "forget_bias" in spec:
        options["forget_bias"] = spec["forget_bias"][direction]
    if spec["class"] == "LSTMCell":
        options.update(use_peepholes=spec["peepholes"], num_proj=spec["projection"], cell_clip=spec["cell_clip"])
    return getattr(v1.nn.rnn_cell, spec["class"])(spec["units"], **options)

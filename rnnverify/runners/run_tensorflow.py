"""Run a TensorFlow checkpoint: BasicRNNCell under dynamic_rnn in a real graph, restored by tf.compat.v1.train.Saver.

Layers of the request, bottom to top: {"input_size", "hidden_size", "directions": [{"kernel", "bias", and for a Keras
cell "recurrent_kernel"}]}, the values being variable names of the checkpoint; two directions: forward, backward.
"reverse" is true in a layer whose only direction runs from the last step to the first, "time_restored" where it hands
its outputs on in the order of the input; "merge" says how two directions are, where they are not concatenated;
"state_first" is true in a direction whose kernel is over [h, x].
"""

from __future__ import annotations

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tf-keras holds BasicRNNCell today; Keras 3 does not

from typing import Any

import numpy as np
import tensorflow as tf
from exchange import load_tensors, run_batches

v1 = tf.compat.v1
MERGE = {
    "concat": lambda parts: tf.concat(parts, 2),
    "sum": lambda parts: parts[0] + parts[1],
    "mul": lambda parts: parts[0] * parts[1],
}


def run(job: dict[str, Any]) -> Any:
    with tf.Graph().as_default():
        config = v1.ConfigProto(intra_op_parallelism_threads=job["threads"], inter_op_parallelism_threads=1)
        with v1.Session(config=config) as session:
            model = Model(job, session)
            loaded, why = model.restore(job)
            outputs = run_batches(job, model)
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": "BasicRNNCell with " + model.unrolled}


def kept(results: Any) -> Any:
    """Lists of arrays as NumPy knows them: bfloat16 as float32."""
    return [[a.astype(np.float32) if a.dtype == tf.bfloat16.as_numpy_dtype else a for a in each] for each in results]


def activation_named(name: Any) -> Any:
    functions = {
        "linear": tf.identity,
        "silu": tf.nn.swish,  # its name in TensorFlow 1, too
        "exponential": tf.exp,
        "hard_sigmoid": lambda x: tf.nn.relu6(x + 3.0) / 6.0,
        "keras2_hard_sigmoid": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),
        "mish": lambda x: x * tf.tanh(tf.nn.softplus(x)),
        "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    }
    if name in functions:
        return functions[name]
    function = getattr(tf.nn, name, None)
    if function is None:
        raise ValueError("TensorFlow has no activation %s" % name)
    return function


class Model:
    """The graph: one dynamic_rnn for a forward stack, else one bidirectional_dynamic_rnn for each layer."""

    def __init__(self, job: dict[str, Any], session: Any) -> None:
        self.session = session
        self.dtype = tf.as_dtype(job["dtype"])
        self.specs = job["layers"]
        activations = [activation_named(name) for name in job["activations"]]
        self.backward = any(len(spec["directions"]) == 2 or spec.get("reverse") for spec in self.specs)
        self.cells = [
            [self.cell(spec, activation) for _ in spec["directions"]]
            for spec, activation in zip(self.specs, activations)
        ]
        self.state_sizes = [(spec["hidden_size"],) for spec in self.specs for _ in spec["directions"]]
        self.x = v1.placeholder(self.dtype, [None, None, self.specs[0]["input_size"]])
        self.h0 = [v1.placeholder(self.dtype, [None, size]) for sizes in self.state_sizes for size in sizes]
        both = any(len(spec["directions"]) == 2 for spec in self.specs)
        self.unrolled = "bidirectional_dynamic_rnn" if both else "dynamic_rnn" + " over reversed steps" * self.backward
        self.outputs, self.h_n = self.connect_both_ways() if self.backward else self.connect_forward()

    def cell(self, spec: Any, activation: Any) -> Any:
        return v1.nn.rnn_cell.BasicRNNCell(spec["hidden_size"], activation=activation, dtype=self.dtype)

    def connect_forward(self) -> Any:
        cells = [cells[0] for cells in self.cells]
        if len(cells) == 1:
            y, last = v1.nn.dynamic_rnn(cells[0], self.x, initial_state=self.h0[0])
            return [y], [last]
        stack = v1.nn.rnn_cell.MultiRNNCell(cells)
        y, last = v1.nn.dynamic_rnn(stack, self.x, initial_state=tuple(self.h0))
        shown = [self.x]
        for k, cell in enumerate(cells):  # a stack shows its last layer only: the cells are also run one by one
            with v1.variable_scope("layer_%d" % k):
                shown.append(v1.nn.dynamic_rnn(cell, shown[-1], initial_state=self.h0[k])[0])
        return [y, *shown[1:]], list(last)

    def connect_both_ways(self) -> Any:
        x, states, finals, shown = self.x, list(self.h0), [], []
        for k, cells in enumerate(self.cells):
            with v1.variable_scope("layer_%d" % k):
                if len(cells) == 1:
                    reverse, restored = self.one_way(k)
                    x, last = v1.nn.dynamic_rnn(cells[0], tf.reverse(x, [1]) if reverse else x, initial_state=states[0])
                    x = tf.reverse(x, [1]) if reverse and restored else x
                    finals.append(last)
                    shown.append(x)
                else:
                    parts, last = v1.nn.bidirectional_dynamic_rnn(
                        cells[0], cells[1], x, initial_state_fw=states[0], initial_state_bw=states[1]
                    )
                    x = MERGE[self.specs[k].get("merge", "concat")](parts)
                    finals += list(last)
                    shown += list(parts)
            states = states[len(cells) :]
        return ([x] if len(shown) == 1 else [x, *shown]), finals

    def one_way(self, k: int) -> Any:
        """Whether layer k, of one direction, runs backwards, and then whether its outputs are turned back."""
        return bool(self.specs[k].get("reverse")), self.specs[k].get("time_restored", True)

    def variables(self) -> Any:
        """(variable of the graph, names in the checkpoint, role) for every weight; a cell has a kernel, then a bias."""
        for spec, cells in zip(self.specs, self.cells):
            for names, cell in zip(spec["directions"], cells):
                kernel, bias = cell.variables
                yield kernel, names, "kernel"
                yield bias, names, "bias"

    def restore(self, job: dict[str, Any]) -> Any:
        """Load the weights; returns the loader's name, or "" and why the file's own arrays were assigned instead."""
        why = job["why_not"]
        other = ("recurrent_kernel", "state_first")
        directions = [d for spec in self.specs for d in spec["directions"]]
        complete = all(d.get("bias") and not any(d.get(key) for key in other) for d in directions)
        if job["loadable"] and complete:
            try:
                saver = v1.train.Saver({names[role]: variable for variable, names, role in self.variables()})
                saver.restore(self.session, job["path"])
                return "tf.compat.v1.train.Saver.restore", ""
            except (tf.errors.OpError, ValueError, TypeError) as error:
                why = type(error).__name__ + ": " + (str(error).strip().splitlines() or [""])[0][:120]
        elif job["loadable"]:
            why = "the file's variables are not those of a BasicRNNCell"
        tensors = load_tensors(job)
        for variable, names, role in self.variables():
            if role == "kernel" and names.get("recurrent_kernel"):
                value = np.concatenate([tensors[names["kernel"]], tensors[names["recurrent_kernel"]]])
            elif names.get(role):
                value = np.asarray(tensors[names[role]])
                if role == "kernel" and names.get("state_first"):  # a BasicRNNCell has the input's rows first
                    value = np.roll(value, -value.shape[1], axis=0)
            else:
                value = np.zeros(variable.shape.as_list())
            variable.load(value.astype(self.dtype.as_numpy_dtype), self.session)
        return "", why

    def run(self, x: Any, states: Any) -> Any:
        dtype = self.dtype.as_numpy_dtype
        feed = dict(zip(self.h0, [np.asarray(h).astype(dtype) for h in states]))
        feed[self.x] = x.astype(dtype)
        return kept(self.session.run([self.outputs, self.h_n], feed))

    @property
    def layers(self) -> Any:
        """Each direction as a dynamic_rnn of its own cell, for long bidirectional runs."""
        found = []
        for k, (spec, cells) in enumerate(zip(self.specs, self.cells)):
            reverse, restored = self.one_way(k)
            directions = [(d == 1 or reverse, self.one_direction(spec, cell, k, d)) for d, cell in enumerate(cells)]
            found.append((spec.get("merge", "concat"), restored, directions))
        return found

    def one_direction(self, spec: Any, cell: Any, k: int, d: int) -> Any:
        x = v1.placeholder(self.dtype, [None, None, cell.variables[0].shape[0] - spec["hidden_size"]])
        h0 = v1.placeholder(self.dtype, [None, spec["hidden_size"]])
        with v1.variable_scope("direction_%d_%d" % (k, d)):
            fetched = v1.nn.dynamic_rnn(cell, x, initial_state=h0)
        dtype = self.dtype.as_numpy_dtype

        def run(block: Any, states: Any) -> Any:
            feed = {x: block.astype(dtype), h0: np.asarray(states[0]).astype(dtype)}
            y, last = kept(self.session.run([[fetched[0]], [fetched[1]]], feed))
            return y[0], last

        return run

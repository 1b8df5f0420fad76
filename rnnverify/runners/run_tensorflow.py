"""Run a TensorFlow checkpoint: its cells under dynamic_rnn in a real graph, restored by tf.compat.v1.train.Saver.

Layers of the request, bottom to top: {"input_size", "hidden_size", "state_size" where h is projected, "directions"},
one direction, or forward and backward, as `tensorflow_cells` has them. "reverse" is true in a layer whose only
direction runs from the last step to the first, "time_restored" where it hands its outputs on in the order of the input;
"merge" says how two directions are, where they are not concatenated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from exchange import in_a_line, load_tensors, run_batches
from tensorflow_cells import (
    Cell,
    activation_named,
    tf,
)  # says which Keras TensorFlow is to have, before that is imported

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
    cells = "+".join(dict.fromkeys(cell.shown for cells in model.cells for cell in cells))
    return {"outputs": outputs, "loaded": loaded, "why_not": why, "layer": cells + " with " + model.unrolled}


def kept(results: Any) -> Any:
    """Lists of arrays as NumPy knows them: bfloat16 as float32."""
    return [[a.astype(np.float32) if a.dtype == tf.bfloat16.as_numpy_dtype else a for a in each] for each in results]


def turned(x: Any, lengths: Any) -> Any:
    """x (b, t, features) from its last step to the first; each sequence from its own last step where it has one."""
    if lengths is None:
        return tf.reverse(x, [1])
    return v1.reverse_sequence(x, lengths, seq_axis=1, batch_axis=0)


class Model:
    """The graph: one dynamic_rnn for a forward stack, else one bidirectional_dynamic_rnn for each layer."""

    def __init__(self, job: dict[str, Any], session: Any) -> None:
        self.session = session
        self.dtype = tf.as_dtype(job["dtype"])
        self.specs = job["layers"]
        self.backward = any(len(spec["directions"]) == 2 or spec.get("reverse") for spec in self.specs)
        self.cells = [
            [Cell(spec, names, act, gates, k, self.dtype) for k, names in enumerate(spec["directions"])]
            for spec, act, gates in zip(self.specs, job["activations"], job["gates"])
        ]
        self.state_sizes = [cell.sizes for cells in self.cells for cell in cells]
        self.x = v1.placeholder(self.dtype, [None, None, self.specs[0]["input_size"]])
        self.h0 = [v1.placeholder(self.dtype, [None, size]) for sizes in self.state_sizes for size in sizes]
        both = any(len(spec["directions"]) == 2 for spec in self.specs)
        self.unrolled = "bidirectional_dynamic_rnn" if both else "dynamic_rnn" + " over reversed steps" * self.backward
        self.lengths = v1.placeholder(tf.int32, [None])
        self.connected = [self.connect(None)]
        self.products: Any = {}  # by activation and whether there is a bias: placeholders, and the output

    def initial_states(self) -> Any:
        """What each cell starts from, as it takes it, in the order of the cells."""
        left = list(self.h0)
        return [cell.packed([left.pop(0) for _ in cell.sizes]) for cells in self.cells for cell in cells]

    def connect(self, lengths: Any) -> Any:
        """Outputs and final states; where `lengths` (b,) are given, of sequences that end there."""
        stacked = not self.backward and not any(cells[0].is_keras for cells in self.cells)  # Keras states are lists
        return list(self.connect_stack(lengths) if stacked else self.connect_layers(lengths))

    def connect_stack(self, lengths: Any) -> Any:
        cells, first = [cells[0] for cells in self.cells], self.initial_states()
        if len(cells) == 1:
            y, last = v1.nn.dynamic_rnn(cells[0].native, self.x, lengths, first[0])
            return [y], cells[0].unpacked(last)
        stack = v1.nn.rnn_cell.MultiRNNCell([cell.native for cell in cells])
        y, last = v1.nn.dynamic_rnn(stack, self.x, lengths, tuple(first))
        shown = [self.x]
        for k, cell in enumerate(cells):  # a stack shows its last layer only: the cells are also run one by one
            with v1.variable_scope("layer_%d" % k):
                shown.append(v1.nn.dynamic_rnn(cell.native, shown[-1], lengths, first[k])[0])
        return [y, *shown[1:]], [state for cell, each in zip(cells, last) for state in cell.unpacked(each)]

    def connect_layers(self, lengths: Any) -> Any:
        x, states, finals, shown = self.x, self.initial_states(), [], []
        for k, cells in enumerate(self.cells):
            with v1.variable_scope("layer_%d" % k):
                if len(cells) == 1:
                    reverse, restored = self.one_way(k)
                    x = turned(x, lengths) if reverse else x
                    x, last = v1.nn.dynamic_rnn(cells[0].native, x, lengths, states[0])
                    if reverse:
                        x = turned(x, lengths)
                        x = x if restored else tf.reverse(x, [1])  # what is padded comes first then
                    finals += cells[0].unpacked(last)
                    shown.append(x)
                else:
                    parts, last = v1.nn.bidirectional_dynamic_rnn(
                        *(cell.native for cell in cells), x, lengths, *states[:2]
                    )
                    x = MERGE[self.specs[k].get("merge", "concat")](parts)
                    finals += [state for cell, each in zip(cells, last) for state in cell.unpacked(each)]
                    shown += list(parts)
            states = states[len(cells) :]
        return ([x] if len(shown) == 1 else [x, *shown]), finals

    def one_way(self, k: int) -> Any:
        """Whether layer k, of one direction, runs backwards, and then whether its outputs are turned back."""
        return bool(self.specs[k].get("reverse")), self.specs[k].get("time_restored", True)

    def restore(self, job: dict[str, Any]) -> Any:
        """Load the weights; returns the loader's name, or "" and why the file's own arrays were assigned instead."""
        why = job["why_not"]
        cells = [cell for cells in self.cells for cell in cells]
        if job["loadable"]:
            named = [cell.loader_names() for cell in cells]
            reasons = [names for names in named if isinstance(names, str)]
            why = reasons[0] if reasons else self.load(job["path"], named)
            if not why:
                return "tf.compat.v1.train.Saver.restore", ""
        tensors = load_tensors(job)
        for cell in cells:
            for variable, value in cell.values(tensors):
                variable.load(value.astype(self.dtype.as_numpy_dtype), self.session)
        return "", why

    def load(self, path: str, named: Any) -> Any:
        """Restore every variable from the checkpoint; why that failed, or ""."""
        try:
            saver = v1.train.Saver({name: variable for names in named for name, variable in names.items()})
            saver.restore(self.session, path)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            return in_a_line(error)
        return ""

    def run(self, x: Any, states: Any, lengths: Any = None) -> Any:
        dtype = self.dtype.as_numpy_dtype
        feed = dict(zip(self.h0, [np.asarray(h).astype(dtype) for h in states]))
        feed[self.x] = x.astype(dtype)
        if lengths is not None:
            feed[self.lengths] = lengths
        return kept(self.session.run(self.connected[0 if lengths is None else 1], feed))

    def run_padded(self, x: Any, states: Any, lengths: Any) -> Any:
        """As `run`, by `sequence_length`."""
        if len(self.connected) == 1:
            with v1.variable_scope("padded"):
                self.connected.append(self.connect(self.lengths))
        return self.run(x, states, lengths)

    def dense(self, y: Any, kernel: Any, bias: Any, activation: str) -> Any:
        key = (activation, bias is not None)
        if key not in self.products:
            inputs = [v1.placeholder(self.dtype, shape) for shape in ([None, None], [None, None], [None])]
            z = tf.matmul(*inputs[:2])
            z = z if bias is None else tf.nn.bias_add(z, inputs[2])
            self.products[key] = inputs, activation_named(activation)(z)
        inputs, made = self.products[key]
        dtype = self.dtype.as_numpy_dtype
        arrays = [array.astype(dtype) for array in (y.reshape(-1, y.shape[2]), kernel, bias) if array is not None]
        ((found,),) = kept([self.session.run([made], dict(zip(inputs, arrays)))])
        return found.reshape(*y.shape[:2], -1)

    @property
    def layers(self) -> Any:
        """Each direction as a dynamic_rnn of its own cell, for long bidirectional runs."""
        found = []
        for k, (spec, cells) in enumerate(zip(self.specs, self.cells)):
            reverse, restored = self.one_way(k)
            directions = [(d == 1 or reverse, self.one_direction(cell, k, d)) for d, cell in enumerate(cells)]
            found.append((spec.get("merge", "concat"), restored, directions))
        return found

    def one_direction(self, cell: Any, k: int, d: int) -> Any:
        x = v1.placeholder(self.dtype, [None, None, cell.input_size])
        first = [v1.placeholder(self.dtype, [None, size]) for size in cell.sizes]
        with v1.variable_scope("direction_%d_%d" % (k, d)):
            y, last = v1.nn.dynamic_rnn(cell.native, x, initial_state=cell.packed(first))
        fetched = [[y], cell.unpacked(last)]
        dtype = self.dtype.as_numpy_dtype

        def run(block: Any, states: Any) -> Any:
            feed = dict(zip(first, [np.asarray(state).astype(dtype) for state in states]))
            feed[x] = block.astype(dtype)
            y, last = kept(self.session.run(fetched, feed))
            return y[0], last

        return run

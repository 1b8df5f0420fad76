"""Run the recurrent nodes of an ONNX file: onnx.load, cut down to those nodes, and onnxruntime on the CPU.

Layers of the request, bottom to top: {"nodes": [{"index": of the node in the graph, "op", "ways": [reverse, ...],
"hidden_size", "turned": whether it runs forward and reads a sequence that was turned around, "loop": None, or what
`onnx_loops` has to know of a Loop or Scan}], one or the forward and the reverse one; "joined": whether the file's own
nodes lead from the layer below to this one; "bodies": [index of an If, attribute] of the branches that are laid out
behind the graph, in turn; "merge", and of two nodes "merged": the tensor in which the file merges them, "axes" of it;
"restored": whether outputs of a node that runs backwards come in the order of the input}.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
from exchange import run_batches
from onnx_cut import FLOAT, Level, cut_out, kinds, unfold, widen
from onnx_loops import control, filled

LENGTHS = "rnnverify/lengths"
LARGEST = 1 << 30  # bytes, beyond which a model is handed over as a file
DENSE: Any = {
    "linear": ("Identity", {}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "softmax": ("Softmax", {"axis": -1}),
    "elu": ("Elu", {}),
    "selu": ("Selu", {}),
    "exponential": ("Exp", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "keras2_hard_sigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
}
"""Activations of dense layers as operators."""


def run(job: dict[str, Any]) -> Any:
    source = onnx.load(job["path"], load_external_data=False)
    unfold(source.graph, job["layers"][0]["bodies"])
    model = Model(job, source)
    outputs = run_batches(job, model)
    names = sorted({source.graph.node[node["index"]].op_type for layer in job["layers"] for node in layer["nodes"]})
    layer = "/".join(names) + " of the CPU provider"
    return {"outputs": outputs, "loaded": "onnx.load" + model.said, "why_not": "", "layer": layer}


class Model:
    def __init__(self, job: dict[str, Any], source: Any) -> None:
        self.job, self.source, self.said = job, source, ""
        self.levels = [Level(layer) for layer in job["layers"]]
        self.state_sizes = [
            (node["hidden_size"],) * len(kinds(node))
            for level in self.levels
            for node in level.nodes
            for _ in node["ways"]
        ]
        self.backward = any(True in node["ways"] for level in self.levels for node in level.nodes)
        self.segments: Any = []
        for level in self.levels:
            if level.joined and self.segments:
                self.segments[-1].append(level)
            else:
                self.segments.append([level])
        try:
            self.sessions = [self.session(segment) for segment in self.segments]
        except ValueError:  # what lies between two layers needs an input of the whole model
            self.segments = [[level] for level in self.levels]
            self.sessions = [self.session(segment) for segment in self.segments]
        self.products: Any = {}  # sessions of dense layers, by activation and whether there is a bias
        self.padded: Any = []  # the same, for sequences of different length

    def session(self, levels: Any, lengths: str = "") -> Any:
        cut, said = cut_out(self.source, levels, lengths)
        onnx.external_data_helper.load_external_data_for_model(cut, os.path.dirname(self.job["path"]))
        if widen(cut.graph):
            said += ", its narrow floats as float32"
        self.said = self.said or said
        return self.opened(cut)

    def opened(self, cut: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.job["threads"]
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        model = cut.SerializeToString() if cut.ByteSize() < LARGEST else self.as_file(cut)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def as_file(self, cut: Any) -> Any:
        path = os.path.join(self.job["folder"], "cut.onnx")
        onnx.save(cut, path, save_as_external_data=True, location="cut.data")
        return path

    def run(self, x: Any, states: Any) -> Any:
        return self.through(self.sessions, x, states, None)

    def run_padded(self, x: Any, states: Any, lengths: Any) -> Any:
        """As `run`, by the operators' own `sequence_lens`, and by the lengths or the mask that a loop reads."""
        loops = [node["loop"] for level in self.levels for node in level.nodes if node["loop"]]
        if not all(loop["masks"] or loop["lengths"] for loop in loops):
            raise ValueError(
                "sequences of different length are not run by this loop: it reads neither lengths nor a mask"
            )
        if not self.padded:
            self.padded = [self.session(segment, LENGTHS) for segment in self.segments]
        return self.through(self.padded, x, states, lengths.astype(np.int32))

    def through(self, sessions: Any, x: Any, states: Any, lengths: Any) -> Any:
        shown, finals = [], []
        for session, levels in zip(sessions, self.segments):
            y, parts, last, states = call(session, levels, x, states, lengths)
            shown += parts
            finals += last
            x = y
        return [x] + (shown if len(shown) > 1 else []), finals

    def dense(self, y: Any, kernel: Any, bias: Any, activation: str) -> Any:
        key = (activation, bias is not None)
        if key not in self.products:
            self.products[key] = self.product(*key)
        fed = {"y": y.reshape(-1, y.shape[2]), "kernel": kernel, "bias": bias}
        (found,) = self.products[key].run(["z"], {name: array for name, array in fed.items() if array is not None})
        return found.reshape(*y.shape[:2], -1)

    def product(self, activation: str, biased: bool) -> Any:
        """A session of one Gemm and its activation."""
        if activation not in DENSE:
            raise ValueError("a dense layer with the activation %s is not run by onnxruntime here" % activation)
        op, attributes = DENSE[activation]
        inputs = ["y", "kernel", "bias"][: 2 + biased]
        nodes = [onnx.helper.make_node("Gemm", inputs, ["product"]), onnx.helper.make_node(op, ["product"], ["z"])]
        nodes[1].attribute.extend(onnx.helper.make_attribute(*each) for each in attributes.items())
        infos = [onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in [*inputs, "z"]]
        graph = onnx.helper.make_graph(nodes, "dense", infos[:-1], infos[-1:])
        opsets = [onnx.helper.make_opsetid("", 13)]
        return self.opened(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8))

    @property
    def layers(self) -> Any:
        return [
            (level.merge, level.restored, [way for node in level.nodes for way in self.one_by_one(node)])
            for level in self.levels
        ]

    def one_by_one(self, node: Any) -> Any:
        """(reverse, function) of each direction of a node, for long runs; the node itself runs both all the same."""
        forward = dict(node, turned=False)  # `reverse` is told beside
        alone = Level(
            {"nodes": [forward], "joined": False, "merge": "concat", "merged": "", "axes": "", "restored": True}
        )
        session = self.session([alone])
        for d, reverse in enumerate(node["ways"]):

            def direction(x: Any, states: Any, d: int = d, reverse: bool = reverse) -> Any:
                count = len(states)
                own = slice(d * count, (d + 1) * count)
                given = [np.zeros_like(states[k % count]) for k in range(count * len(node["ways"]))]
                given[own] = states
                against = reverse and not node["turned"]  # the node itself runs against the order of its input
                _, parts, last, _ = call(session, [alone], x[:, ::-1] if against else x, given, None)
                return parts[d][:, ::-1] if against else parts[d], last[own]

            yield reverse, direction


def call(session: Any, levels: Any, x: Any, states: Any, lengths: Any) -> Any:
    """x (b, t, I) through one session: y (b, t, F), every direction's outputs, final states, and states left over."""
    fed = {}
    for name, node in zip(levels[0].read, levels[0].nodes):
        fed[name] = np.ascontiguousarray(around(x, node, lengths).swapaxes(0, 1))  # (t, b, I)
    for level in levels:
        for k, node in enumerate(level.nodes):
            count = len(level.initial(k))
            own, states = states[: count * len(node["ways"])], states[count * len(node["ways"]) :]
            for j, name in enumerate(level.initial(k)):
                fed[name] = own[j] if node["loop"] else np.stack(own[j::count])  # (b, H), or (D, b, H)
            fed.update(control(node, x.shape[:2], lengths))
            fed.update({name: filled(kind, node, x.shape[:2]) for name, kind in level.stand_ins.items()})
    taken = {each.name for each in session.get_inputs()}
    if LENGTHS in taken:
        fed[LENGTHS] = lengths
    wanted = [name for level in levels for names in level.outputs for name in names]
    merged = levels[-1].merged
    given = {name: array for name, array in fed.items() if name in taken}
    found = dict(zip(wanted + [merged] * bool(merged), session.run(wanted + [merged] * bool(merged), given)))
    parts, finals = [], []
    for level in levels:
        last = []
        for (name, *ends), node in zip(level.outputs, level.nodes):
            for d, reverse in enumerate(node["ways"]):
                y = found[name] if node["loop"] else found[name][:, d]  # (t, b, H) of (t, D, b, H)
                # Y of a node that runs backwards is in the order of the input, of one that is turned in its own
                mixed = node["turned"] if level.restored else reverse and not node["turned"]
                last.append(around(y.swapaxes(0, 1), dict(node, turned=mixed), lengths))
                finals += [found[end] if node["loop"] else found[end][d] for end in ends]
        parts += last
    if merged:
        y = found[merged].transpose([levels[-1].axes.index(axis) for axis in "BTF"])
    else:
        y = merge(levels[-1].merge, last)
    return y, parts, finals, states


def around(x: Any, node: Any, lengths: Any) -> Any:
    """x (b, t, F), where `node` is turned from the last step to the first: of all steps, or of those that count.

    A loop with a mask is told by that which steps count; its sequences are turned whole.
    """
    if not node["turned"]:
        return x
    if lengths is None or (node["loop"] and node["loop"]["masks"]):
        return x[:, ::-1]
    found = np.array(x)
    for row, length in zip(found, lengths):
        row[:length] = row[:length][::-1].copy()
    return found


def merge(how: str, parts: Any) -> Any:
    """The outputs of directions (b, t, H) as one."""
    if how == "concat" or len(parts) == 1:
        return np.concatenate(parts, axis=2)
    if how == "mul":
        return parts[0] * parts[1]
    total = parts[0] + parts[1]
    return total * np.float32(0.5) if how == "ave" else total

"""Run the recurrent nodes of an ONNX file: onnx.load, cut down to those nodes, and onnxruntime on the CPU.

Layers of the request, bottom to top: {"nodes": [{"index": of the node in the graph, "op", "ways": [reverse, ...],
"hidden_size"}], one or the forward and the reverse one; "joined": whether the file's own nodes lead from the layer
below to this one; "bodies": [index of an If, attribute] of the branches that are laid out behind the graph, in turn;
"merge", and of two nodes "merged": the tensor in which the file merges them, "axes" of it}.

What is run is the file's own node with its own attributes and initializers, and whatever leads to it from there. New
are only inputs, in the place of what the nodes read and of their initial states, and outputs, where the file drops one.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import onnxruntime
from exchange import run_batches

FLOAT, NARROW = onnx.TensorProto.FLOAT, (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
OLDEST = 7  # operator set from which onnxruntime has recurrent nodes; those before differ in names only
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
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "keras2_hard_sigmoid": ("HardSigmoid", {"alpha": 0.2, "beta": 0.5}),
}
"""Activations of dense layers as operators."""
IR_VERSIONS = (4, 10)  # from where initializers need not be inputs, to what every onnxruntime of today reads


def run(job: dict[str, Any]) -> Any:
    source = onnx.load(job["path"], load_external_data=False)
    unfold(source.graph, job["layers"][0]["bodies"])
    model = Model(job, source)
    outputs = run_batches(job, model)
    names = sorted({node["op"] for layer in job["layers"] for node in layer["nodes"]})
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
        return self.through(self.sessions, x, states, {})

    def run_padded(self, x: Any, states: Any, lengths: Any) -> Any:
        """As `run`, by the operators' own `sequence_lens`."""
        if not self.padded:
            self.padded = [self.session(segment, LENGTHS) for segment in self.segments]
        return self.through(self.padded, x, states, {LENGTHS: lengths.astype(np.int32)})

    def through(self, sessions: Any, x: Any, states: Any, more: Any) -> Any:
        shown, finals = [], []
        for session, levels in zip(sessions, self.segments):
            y, parts, last, states = call(session, levels, x, states, more)
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
            (level.merge, True, [way for node in level.nodes for way in self.one_by_one(node)]) for level in self.levels
        ]

    def one_by_one(self, node: Any) -> Any:
        """(reverse, function) of each direction of a node, for long runs; the node itself runs both all the same."""
        alone = Level({"nodes": [node], "joined": False, "merge": "concat", "merged": "", "axes": ""})
        session = self.session([alone])
        for d, reverse in enumerate(node["ways"]):

            def direction(x: Any, states: Any, d: int = d, reverse: bool = reverse) -> Any:
                count = len(states)
                own = slice(d * count, (d + 1) * count)
                given = [np.zeros_like(states[k % count]) for k in range(count * len(node["ways"]))]
                given[own] = states
                _, parts, last, _ = call(session, [alone], x[:, ::-1] if reverse else x, given, {})
                return parts[d][:, ::-1] if reverse else parts[d], last[own]

            yield reverse, direction


class Level:
    """One layer of the request, and how its tensors are called in the cut graph."""

    def __init__(self, layer: dict[str, Any]) -> None:
        self.nodes, self.joined, self.merge = layer["nodes"], layer["joined"], layer["merge"]
        self.merged, self.axes = layer["merged"], layer["axes"]
        self.read: Any = []  # for each node the tensor that it reads
        self.outputs: Any = []  # for each node Y, Y_h, and Y_c of an LSTM

    def initial(self, k: int) -> Any:
        """The inputs that stand in for initial_h, and initial_c, of node `k`."""
        node = self.nodes[k]
        return ["rnnverify/initial_%s/%d" % (kind, node["index"]) for kind in kinds(node)]


def kinds(node: dict[str, Any]) -> Any:
    """Which states a node has."""
    return ("h", "c") if node["op"] == "LSTM" else ("h",)


def call(session: Any, levels: Any, x: Any, states: Any, more: Any) -> Any:
    """x (b, t, I) through one session: y (b, t, F), every direction's outputs, final states, and states left over."""
    fed = dict(more, **dict.fromkeys(levels[0].read, np.ascontiguousarray(x.swapaxes(0, 1))))  # (t, b, I)
    for level in levels:
        for k, node in enumerate(level.nodes):
            count = len(level.initial(k))
            own, states = states[: count * len(node["ways"])], states[count * len(node["ways"]) :]
            for j, name in enumerate(level.initial(k)):
                fed[name] = np.stack(own[j::count])  # (D, b, H)
    wanted = [name for level in levels for names in level.outputs for name in names]
    merged = levels[-1].merged
    found = dict(zip(wanted + [merged] * bool(merged), session.run(wanted + [merged] * bool(merged), fed)))
    parts, finals = [], []
    for level in levels:
        last = []
        for (name, *ends), node in zip(level.outputs, level.nodes):
            for d in range(len(node["ways"])):
                last.append(found[name][:, d].swapaxes(0, 1))  # (t, D, b, H) -> (b, t, H)
                finals += [found[end][d] for end in ends]
        parts += last
    if merged:
        y = found[merged].transpose([levels[-1].axes.index(axis) for axis in "BTF"])
    else:
        y = np.concatenate(last, axis=2)
    return y, parts, finals, states


def cut_out(source: Any, levels: Any, lengths: str) -> Any:
    """A model of the recurrent nodes of `levels` and all that they need beside the input of the lowest; and words.

    `lengths` is an input that tells where sequences end; empty: all run to the end.
    """
    graph = source.graph
    nodes = {
        node["index"]: onnx.NodeProto.FromString(graph.node[node["index"]].SerializeToString())
        for level in levels
        for node in level.nodes
    }
    fed, wanted = [], []
    for level in levels:
        level.outputs = []
        for k, node in enumerate(level.nodes):
            inputs, outputs = rewire(nodes[node["index"]], level.initial(k), lengths, node["hidden_size"])
            fed += inputs
            wanted += outputs
            level.outputs.append(outputs)
    levels[0].read = [nodes[node["index"]].input[0] for node in levels[0].nodes]
    fed += list(dict.fromkeys(levels[0].read))
    ends = wanted + [levels[-1].merged] * bool(levels[-1].merged)
    kept, constants = needed(graph, nodes, {*fed, lengths}, ends)
    opset, said = opset_of(source, kept)
    infos = [[onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in names] for names in (fed, ends)]
    if lengths:
        infos[0].append(onnx.helper.make_tensor_value_info(lengths, onnx.TensorProto.INT32, None))
    cut = onnx.helper.make_graph(kept, "rnnverify", infos[0], infos[1], constants)
    low, high = IR_VERSIONS
    opsets = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(cut, opset_imports=opsets, ir_version=max(low, min(high, source.ir_version))), said


def unfold(graph: Any, bodies: Any) -> None:
    """Lay the branches behind the graph, where the request counts their nodes."""
    for index, name in bodies:
        (body,) = [attribute.g for attribute in graph.node[index].attribute if attribute.name == name]
        graph.node.extend(body.node)
        graph.initializer.extend(body.initializer)


def rewire(node: Any, initial: Any, lengths: str, hidden_size: int) -> Any:
    """Let `node` read its initial states and lengths from new inputs, and give every output; names of both.

    It states its `hidden_size` then, which a file may leave to the shape of R, and onnxruntime wants to be told.
    """
    if not any(each.name == "hidden_size" for each in node.attribute):
        node.attribute.append(onnx.helper.make_attribute("hidden_size", hidden_size))
    inputs = list(node.input) + [""] * 8
    inputs[4] = lengths
    inputs[5 : 5 + len(initial)] = initial
    while inputs and not inputs[-1]:
        inputs.pop()
    outputs = list(node.output) + [""] * 3
    count = 3 if node.op_type == "LSTM" else 2
    outputs = [outputs[k] or "rnnverify/output_%d/%s" % (k, initial[0]) for k in range(count)]
    del node.input[:], node.output[:]
    node.input.extend(inputs)
    node.output.extend(outputs)
    return initial, outputs


def needed(graph: Any, rewired: Any, fed: Any, ends: Any) -> Any:
    """The nodes, in the order of the file, and initializers that `ends` need where `fed` are given."""
    nodes = [rewired.get(k, node) for k, node in enumerate(graph.node)]
    makers = {name: k for k, node in enumerate(nodes) for name in node.output if name}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    kept, found, left, seen = set(), {}, list(ends), set(fed)
    while left:
        name = left.pop()
        if not name or name in seen:
            continue
        seen.add(name)
        if name in constants:
            found[name] = constants[name]
        elif name in makers:
            kept.add(makers[name])
            left += nodes[makers[name]].input
        else:
            raise ValueError("the nodes need %s, an input of the whole model" % name)
    return [nodes[k] for k in sorted(kept)], list(found.values())


def opset_of(source: Any, kept: Any) -> Any:
    """The operator set to run with, and what is to be said about it."""
    stated = [each.version for each in source.opset_import if each.domain in ("", "ai.onnx")]
    opset = stated[0] if stated else 1
    if opset >= OLDEST:
        return opset, ""
    for node in kept:
        if node.op_type not in ("RNN", "GRU", "LSTM", "Constant", "Identity"):
            raise ValueError("operator set %d is older than onnxruntime runs" % opset)
        attributes = [each for each in node.attribute if each.name not in ("output_sequence", "consumed_inputs")]
        del node.attribute[:]
        node.attribute.extend(attributes)
    return OLDEST, ", its operator set %d read as %d" % (opset, OLDEST)


def widen(graph: Any) -> bool:
    """Store narrow floats as float32, which holds their values; whether there were any."""
    tensors = list(graph.initializer)
    casts = []
    for node in graph.node:
        tensors += [a.t for a in node.attribute if a.HasField("t")]
        casts += [a for a in node.attribute if node.op_type == "Cast" and a.name == "to" and a.i in NARROW]
    found = [tensor for tensor in tensors if tensor.data_type in NARROW]
    for tensor in found:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for each in casts:
        each.i = FLOAT
    return bool(found)

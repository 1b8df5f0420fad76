"""Cut the recurrent nodes of an ONNX model out of it: a model of those, fed with inputs and initial states.

What is kept is the file's own node with its own attributes and initializers, and whatever leads to it from there. New
are only inputs, in the place of what the nodes read and of their initial states, and outputs, where the file drops one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx_loops import captured, kinds, rewire_loop, stand_ins

FLOAT, NARROW = onnx.TensorProto.FLOAT, (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
OLDEST = 7  # operator set from which onnxruntime has recurrent nodes; those before differ in names only
IR_VERSIONS = (4, 10)  # from where initializers need not be inputs, to what every onnxruntime of today reads


class Level:
    """One layer of the request, and how its tensors are called in the cut graph."""

    def __init__(self, layer: dict[str, Any]) -> None:
        self.nodes, self.joined, self.merge = layer["nodes"], layer["joined"], layer["merge"]
        self.merged, self.axes, self.restored = layer["merged"], layer["axes"], layer["restored"]
        self.read: Any = []  # for each node the tensor that it reads
        self.outputs: Any = []  # for each node Y, Y_h, and Y_c of an LSTM
        self.stand_ins: Any = {}  # what its loops carry and the file makes from an input of the whole model

    def initial(self, k: int) -> Any:
        """The inputs that stand in for initial_h, and initial_c, of node `k`."""
        node = self.nodes[k]
        return ["rnnverify/initial_%s/%d" % (kind, node["index"]) for kind in kinds(node)]


def unfold(graph: Any, bodies: Any) -> None:
    """Lay the branches behind the graph, where the request counts their nodes."""
    for index, name in bodies:
        (body,) = [attribute.g for attribute in graph.node[index].attribute if attribute.name == name]
        graph.node.extend(body.node)
        graph.initializer.extend(body.initializer)


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
    fed, wanted, loops = [], [], []
    more = {lengths: onnx.TensorProto.INT32} if lengths else {}
    for level in levels:
        level.outputs = []
        for k, node in enumerate(level.nodes):
            own, initial = nodes[node["index"]], level.initial(k)
            if node["loop"]:
                outputs, own_inputs = rewire_loop(source, own, initial, node["loop"])
                more.update(own_inputs)
                loops.append((own, node["loop"], level))
            else:
                outputs = rewire(own, initial, lengths, node["hidden_size"])
            fed += initial
            wanted += outputs
            level.outputs.append(outputs)
    levels[0].read = [node["loop"]["x"] if node["loop"] else nodes[node["index"]].input[0] for node in levels[0].nodes]
    fed += list(dict.fromkeys(levels[0].read))
    for own, loop, level in loops:
        for name, kind in stand_ins(own, loop).items():
            if not is_given(graph, nodes, {*fed, *more}, name):
                level.stand_ins[name] = kind
                more[name] = FLOAT if kind.elem_type in NARROW else kind.elem_type
    ends = wanted + [levels[-1].merged] * bool(levels[-1].merged)
    kept, constants = needed(graph, nodes, {*fed, *more}, ends)
    opset, said = opset_of(source, kept)
    infos = [[onnx.helper.make_tensor_value_info(name, FLOAT, None) for name in names] for names in (fed, ends)]
    infos[0] += [onnx.helper.make_tensor_value_info(name, kind, None) for name, kind in more.items()]
    cut = onnx.helper.make_graph(kept, "rnnverify", infos[0], infos[1], constants)
    low, high = IR_VERSIONS
    opsets = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(cut, opset_imports=opsets, ir_version=max(low, min(high, source.ir_version))), said


def rewire(node: Any, initial: Any, lengths: str, hidden_size: int) -> Any:
    """Let `node` read its initial states and lengths from new inputs, and give every output, whose names are returned.

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
    return outputs


def is_given(graph: Any, rewired: Any, fed: Any, name: str) -> bool:
    """Whether `name` can be computed where `fed` are given."""
    try:
        needed(graph, rewired, fed, [name])
    except ValueError:
        return False
    return True


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
            left += [*nodes[makers[name]].input, *captured(nodes[makers[name]])]
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
    """Store narrow floats as float32, which holds their values, also in bodies; whether there were any."""
    tensors = list(graph.initializer)
    casts, bodies = [], []
    for node in graph.node:
        tensors += [a.t for a in node.attribute if a.HasField("t")]
        casts += [a for a in node.attribute if node.op_type == "Cast" and a.name == "to" and a.i in NARROW]
        bodies += [a.g for a in node.attribute if a.HasField("g")]
    for body in bodies:
        for each in [*body.input, *body.output, *body.value_info]:
            if each.type.tensor_type.elem_type in NARROW:
                each.type.tensor_type.elem_type = FLOAT
    inside = [widen(body) for body in bodies]
    found = [tensor for tensor in tensors if tensor.data_type in NARROW]
    for tensor in found:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for each in casts:
        each.i = FLOAT
    return bool(found) or any(inside)

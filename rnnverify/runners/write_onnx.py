"""Write an ONNX model: recurrent nodes from onnx.helper, one after another, checked and saved by onnx itself.

Layers of the request, each feeding the next: {"nodes": [{"name", "op", "tensors": [W, R, and B and P where there are
such], "attributes"}], "merge"}; two nodes are a forward and a reverse one, whose outputs are merged. The model takes x
(batch, time, features) and starts from zero states; it gives y (batch, time, features) and every node's final states.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from exchange import load_tensors
from onnx import helper, numpy_helper

OPSET, IR_VERSION = 14, 7
PLACES = {"W": 1, "R": 2, "B": 3, "P": 7}  # of the tensors among the inputs of a node
MERGES = {"sum": "Add", "mul": "Mul"}


def write(job: dict[str, Any]) -> Any:
    tensors = {name: np.array(array) for name, array in load_tensors(job).items()}
    kind = helper.np_dtype_to_tensor_dtype(next(iter(tensors.values())).dtype)
    nodes = [helper.make_node("Transpose", ["x"], ["x/steps"], "x/Transpose", perm=[1, 0, 2])]
    finals, read, width = [], "x/steps", 0
    for k, layer in enumerate(job["layers"]):
        parts = []
        for each in layer["nodes"]:
            made, ends, part = recurrent(each, read)
            nodes += made
            finals += ends
            parts.append(part)
        read, width = parts[0], layer["nodes"][0]["attributes"]["hidden_size"]
        width *= 2 if layer["nodes"][0]["attributes"]["direction"] == "bidirectional" else 1
        if len(parts) > 1:
            read = "layer_%d/merged" % k
            nodes.append(helper.make_node(MERGES[layer["merge"]], parts, [read], read))
    nodes.append(helper.make_node("Transpose", [read], ["y"], "y/Transpose", perm=[1, 0, 2]))
    constants = [numpy_helper.from_array(array, name) for name, array in tensors.items()]
    constants += [numpy_helper.from_array(np.array(value), name) for name, value in SHAPES.items()]
    x = helper.make_tensor_value_info("x", kind, ["batch", "time", job["input_size"]])
    y = helper.make_tensor_value_info("y", kind, ["batch", "time", width])
    ends = [helper.make_tensor_value_info(name, kind, [D, "batch", H]) for name, D, H in finals]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(nodes, "network", [x], [y, *ends], [c for c in constants if c.name in used])
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="rnnverify")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, job["write"]["path"])
    return {"written": "onnx.save"}


SHAPES = {"directions": [1], "side by side": [0, 0, -1]}
"""Of Squeeze: the axis of directions. Of Reshape: directions and features as one axis."""


def recurrent(spec: Any, read: str) -> Any:
    """The node of `spec` that reads `read` (T, B, I), its final states (name, D, H), and what it hands on (T, B, F)."""
    name, attributes = spec["name"], spec["attributes"]
    D = 2 if attributes["direction"] == "bidirectional" else 1
    inputs = [read] + [""] * 7
    for tensor in spec["tensors"]:
        inputs[PLACES[tensor.rpartition(".")[2]]] = tensor
    while not inputs[-1]:
        inputs.pop()
    ends = [name + "/h_n"] + [name + "/c_n"] * (spec["op"] == "LSTM")
    nodes = [helper.make_node(spec["op"], inputs, [name + "/Y", *ends], name, **attributes)]
    if D == 1:
        nodes.append(helper.make_node("Squeeze", [name + "/Y", "directions"], [name + "/y"], name + "/Squeeze"))
    else:
        beside = [name + "/Y", name + "/beside"]
        nodes.append(helper.make_node("Transpose", beside[:1], beside[1:], name + "/Transpose", perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [beside[1], "side by side"], [name + "/y"], name + "/Reshape"))
    return nodes, [(end, D, attributes["hidden_size"]) for end in ends], name + "/y"

"""A Loop or Scan of an ONNX model, let run over any sequence: its control replaced, its computations untouched.

What is known of one: {"x": the tensor (T, B, I) in the graph whose steps it reads, "y": the output with h of every
step, or "", "after": what the body calls h as a step leaves it, "states": where h and c stand among what it carries,
"masks": tensors (T, B, 1) that say whether a step counts, "lengths": tensors (B,) that say how many do}.

A Loop runs as many steps as it is told here, whatever its condition says, as that is made for the length it was
exported with; a Scan always runs over all of its input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

STEPS, GO_ON = "rnnverify/steps", "rnnverify/go_on"


def kinds(node: dict[str, Any]) -> Any:
    """Which states a node has."""
    return ("h", "c") if node["op"] == "LSTM" else ("h",)


def captured(node: Any) -> Any:
    """Tensors of the graph around that the bodies of `node` read."""
    found = []
    for attribute in node.attribute:
        for body in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            own = {each.name for each in [*body.input, *body.initializer]}
            own.update(name for inner in body.node for name in inner.output)
            read = [name for inner in body.node for name in [*inner.input, *captured(inner)]]
            found += [name for name in [*read, *(each.name for each in body.output)] if name and name not in own]
    return found


def rewire_loop(source: Any, node: Any, initial: Any, loop: dict[str, Any]) -> Any:
    """Let `node` start from the inputs `initial` and run over all steps; its outputs Y, h and c, and inputs with their
    types that it reads besides."""
    first = 2 if node.op_type == "Loop" else 0
    body = next(each.g for each in node.attribute if each.name == "body")
    for k, name in zip(loop["states"], initial):
        node.input[first + k] = name
    if node.op_type == "Loop":
        node.input[0], node.input[1] = STEPS, GO_ON
        always = onnx.helper.make_tensor("value", onnx.TensorProto.BOOL, [], [True])
        body.node.append(onnx.helper.make_node("Constant", [], [GO_ON + "/next"], value=always))
        body.output[0].name = GO_ON + "/next"
    node.output.extend([""] * (len(body.output) - (node.op_type == "Loop") - len(node.output)))
    for k, name in enumerate(node.output):
        node.output[k] = name or "rnnverify/given_%d/%s" % (k, initial[0])
    y = loop["y"]
    if not y:
        y = "rnnverify/output/" + initial[0]
        h = "rnnverify/h/" + initial[0]
        body.node.append(onnx.helper.make_node("Identity", [loop["after"]], [h]))
        body.output.append(onnx.helper.make_tensor_value_info(h, onnx.TensorProto.FLOAT, None))
        node.output.append(y)
    kinds_of = {each.name: each.type.tensor_type.elem_type for each in source.graph.input}
    more = {STEPS: onnx.TensorProto.INT64, GO_ON: onnx.TensorProto.BOOL} if node.op_type == "Loop" else {}
    more.update(dict.fromkeys(loop["masks"], onnx.TensorProto.BOOL))
    more.update({name: kinds_of.get(name) or onnx.TensorProto.INT32 for name in loop["lengths"]})
    return [y, *(node.output[k] for k in loop["states"])], more


def stand_ins(node: Any, loop: dict[str, Any]) -> Any:
    """What a loop carries besides its states, as names around it and their types: masked outputs, or a length."""
    first = 2 if node.op_type == "Loop" else 0
    body = next(each.g for each in node.attribute if each.name == "body")
    pairs = zip(node.input[first:], body.input[first:])
    return {name: inner.type.tensor_type for k, (name, inner) in enumerate(pairs) if k not in loop["states"]}


def filled(kind: Any, node: dict[str, Any], shape: Any) -> Any:
    """An array of that type for (b, t) steps: zeros (b, H), or of whole numbers the number of steps."""
    b, t = shape
    if kind.elem_type in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return np.full([1] * len(kind.shape.dim), t, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    return np.zeros((b, node["hidden_size"]), np.float32)


def control(node: dict[str, Any], shape: Any, lengths: Any) -> Any:
    """What a loop is fed besides x and states, for (b, t) steps of which `lengths`, or all, count."""
    if not node["loop"]:
        return {}
    b, t = shape
    count = np.full(b, t, np.int32) if lengths is None else lengths
    mask = (np.arange(t)[:, None] < count)[:, :, None]  # (t, b, 1)
    fed = {STEPS: np.array(t, np.int64), GO_ON: np.array(True)}
    fed.update(dict.fromkeys(node["loop"]["masks"], mask[::-1] if node["turned"] else mask))
    fed.update(dict.fromkeys(node["loop"]["lengths"], count))
    return fed

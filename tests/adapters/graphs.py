"""Graphs of a few operations, for tests of what is read from them."""

from __future__ import annotations

import numpy as np

from rnnverify.containers.tf_graph import Graph, Node


def graph(*nodes: Node) -> Graph:
    return {node.name: node for node in nodes}


def op(name: str, kind: str, *inputs: str, **attributes: bytes) -> Node:
    return Node(name, kind, inputs, {key: memoryview(value) for key, value in attributes.items()})


def const(name: str, value: float, dtype: type[np.generic] = np.float32) -> Node:
    """A Const (): AttrValue.tensor = 8, TensorProto.dtype = 1, tensor_content = 4."""
    content = np.array(value, dtype).tobytes()
    tensor = bytes([8, {np.float32: 1, np.int32: 3}[dtype], 0x22, len(content)]) + content
    return op(name, "Const", value=bytes([0x42, len(tensor)]) + tensor)


def cell(
    *activation: Node, state: str = "act", parts: tuple[str, ...] = ("x", "h"), extra: tuple[Node, ...] = ()
) -> Graph:
    """A BasicRNNCell in a loop; `activation` reads `z`, the pre-activation, and `state` is the new state."""
    nodes = [
        op("steps", "Placeholder"),
        op("zeros", "Fill"),
        op("kernel", "VariableV2"),
        op("bias", "VariableV2"),
        op("scatter", "TensorArrayScatterV3", "array", "range", "steps", "array:1"),
        op("time", "Merge", "zero", "later"),
        op("x", "TensorArrayReadV3", "array", "time", "scatter"),
        op("h", "Merge", "zeros", "next"),
        op("concat", "ConcatV2", *parts, "axis"),
        op("matmul", "MatMul", "concat", "kernel"),
        op("z", "BiasAdd", "matmul", "bias"),
        *(activation or (op("act", "Tanh", "z"),)),
        op("next", "NextIteration", state),
        *extra,
    ]
    return graph(*nodes)

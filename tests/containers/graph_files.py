"""Writes TensorFlow graphs byte by byte, so that tests can write odd and broken ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tf_files import DTYPES, chunk, number, shape

from rnnverify.canonical import Array


def node(name: str, op: str, *inputs: str, **attributes: bytes) -> bytes:
    """A NodeDef; `attributes` are AttrValues."""
    entries = (chunk(5, chunk(1, key.encode()) + chunk(2, value)) for key, value in attributes.items())
    read = b"".join(chunk(3, tensor.encode()) for tensor in inputs)
    return chunk(1, name.encode()) + chunk(2, op.encode()) + read + b"".join(entries)


def const(name: str, value: Array) -> bytes:
    tensor = number(1, DTYPES[value.dtype.name]) + chunk(2, shape(value.shape)) + chunk(4, value.tobytes())
    return node(name, "Const", value=chunk(8, tensor))


def variable(name: str, *sizes: int) -> bytes:
    return node(name, "VariableV2", shape=chunk(7, shape(sizes)))


def graph_def(*nodes: bytes, library: bytes = b"") -> bytes:
    return b"".join(chunk(1, n) for n in nodes) + (chunk(2, library) if library else b"")


def meta_graph(*nodes: bytes) -> bytes:
    return chunk(1, chunk(5, b"1.15.5")) + chunk(2, graph_def(*nodes))


def calls(function: str) -> bytes:
    """The AttrValue that names a function."""
    return chunk(10, chunk(1, function.encode()))


def function_def(name: str, arguments: Mapping[str, str], *nodes: bytes) -> bytes:
    """A FunctionDef of one entry in a library; `arguments` go to what is returned under their names."""
    inputs = b"".join(chunk(2, chunk(1, a.encode())) for a in arguments)
    outputs = b"".join(chunk(3, chunk(1, f"out_{a}".encode())) for a in arguments)
    returned = b"".join(chunk(4, chunk(1, f"out_{a}".encode()) + chunk(2, r.encode())) for a, r in arguments.items())
    return chunk(
        1, chunk(1, chunk(1, name.encode()) + inputs + outputs) + b"".join(chunk(3, n) for n in nodes) + returned
    )


def cell(scope: str, activation: str = "Tanh", state_first: bool = False, kernel: bytes = b"") -> list[bytes]:
    """A BasicRNNCell in a loop, as `dynamic_rnn` makes it, with 3 features and 2 units."""
    parts = ("state", "x") if state_first else ("x", "state")
    return [
        node("x", "Placeholder"),
        node("zeros", "Placeholder"),
        kernel or variable(f"{scope}/kernel", 5, 2),
        variable(f"{scope}/bias", 2),
        node("enter", "Enter", "zeros"),
        node("merge", "Merge", "enter", "next"),
        node("switch", "Switch", "merge", "x"),
        node("state", "Identity", "switch:1"),
        const("axis", np.array(1, np.int32)),
        node("concat", "ConcatV2", *parts, "axis"),
        node("kernel_read", "Identity", f"{scope}/kernel"),
        node("bias_read", "Enter", f"{scope}/bias"),
        node("matmul", "MatMul", "concat", "kernel_read"),
        node("sum", "BiasAdd", "matmul", "bias_read"),
        node("act", activation, "sum"),
        node("next", "NextIteration", "act"),
    ]

"""Frozen TensorFlow graphs: a GraphDef whose variables have become constants (`convert_variables_to_constants`,
tensorflow/python/framework/graph_util_impl.py, TensorFlow 0.12 to 2.21).

The constants keep the names of the variables. Every floating-point constant of one axis or more is listed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant, constant_header
from rnnverify.containers.tf_graph import Node, read_graph
from rnnverify.errors import FileError

FROZEN = "TensorFlow frozen graph"
"""The form, as reports name it."""

_FLOATS = ("float16", "bfloat16", "float32", "float64")


def read(path: Path) -> Contents:
    """The constants of the frozen graph `path`; `metadata["graph"]` is the graph itself. Raises `FileError`."""
    graph = read_graph(path)
    tensors = {}
    for node in graph.values():
        if node.op != "Const":
            continue
        try:
            header = constant_header(node)
        except MalformedError as error:
            raise FileError(path, f"a damaged TensorFlow graph: {error}", "write it again") from error
        if header.dtype in _FLOATS and header.shape:
            tensors[node.name] = StoredTensor(node.name, header.shape, header.dtype, partial(_values, path, node))
    variables = sum(node.op in ("Variable", "VariableV2", "VarHandleOp") for node in graph.values())
    if variables and not tensors:
        found = f"a graph with {variables} variables and no weights"
        raise FileError(path, found, "freeze it with convert_variables_to_constants, or give its checkpoint")
    return Contents(
        path=path,
        form=FROZEN,
        framework="tensorflow",
        tensors=tensors,
        writer="TensorFlow",
        metadata={"graph": graph},
    )


def _values(path: Path, node: Node) -> Array:
    try:
        return constant(node)
    except MalformedError as error:
        raise FileError(path, f"a damaged TensorFlow graph: {error}", "write it again") from error

"""Frozen TensorFlow graphs: a GraphDef whose variables have become constants (`convert_variables_to_constants`,
tensorflow/python/framework/graph_util_impl.py, TensorFlow 0.12 to 2.21).

The constants keep the names of the variables. Every floating-point constant of one axis or more is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents, StoredTensor
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant, constant_header
from rnnverify.containers.tf_graph import Graph, Node, producer, read_graph
from rnnverify.errors import FileError, printable

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
    _join_parts(graph, tensors, path)
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


def _join_parts(graph: Graph, tensors: dict[str, StoredTensor], path: Path) -> None:
    """Put a partitioned variable in the place of its parts: X/ConcatPartitions/concat joins X/part_0, X/part_1, ..."""
    for node in [n for n in graph.values() if n.name.endswith("/ConcatPartitions/concat")]:
        words = node.name.removesuffix("/ConcatPartitions/concat").split("/")
        scoped = ("/".join(words[k:]) for k in range(len(words)))  # inside a loop, its scopes stand in front
        name = next((n for n in scoped if f"{n}/part_0" in tensors), "")
        axis = producer(graph, (node.inputs or ("",))[0 if node.op == "Concat" else -1])
        parts = [tensors.get(f"{name}/part_{k}") for k in range(len(node.inputs) - 1)]
        shapes = [part.shape for part in parts if part]
        if not parts or len(shapes) < len(parts) or axis is None or axis.op != "Const":
            continue
        along = int(_values(path, axis))
        if not 0 <= along < len(shapes[0]) or len({s[:along] + s[along + 1 :] for s in shapes}) > 1:
            raise FileError(path, f"the parts of {printable(name)} do not fit together", "write it again")
        whole = (*shapes[0][:along], sum(shape[along] for shape in shapes), *shapes[0][along + 1 :])
        stored = [part for part in parts if part]
        read = partial(_joined, stored, along)
        tensors[name] = StoredTensor(name, whole, stored[0].dtype, read)
        for part in stored:
            del tensors[part.name]


def _joined(parts: Sequence[StoredTensor], axis: int) -> Array:
    return np.concatenate([part.read() for part in parts], axis=axis)


def _values(path: Path, node: Node) -> Array:
    try:
        return constant(node)
    except MalformedError as error:
        raise FileError(path, f"a damaged TensorFlow graph: {error}", "write it again") from error

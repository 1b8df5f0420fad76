"""Parts of tensors in a TensorFlow graph: what splits and slices take out of a weight, or out of what it made.

A step is computed with fewer units than the cell in the graph has. So a place along the last axis, on which gate after
gate stands, is moved to where it would be among these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnverify.adapters.graph.walk import origin
from rnnverify.canonical import Array
from rnnverify.containers.tf_constant import constant
from rnnverify.containers.tf_graph import Graph, Node

_DEEPEST = 4  # parts of parts
PARTS = {"Split": 1, "SplitV": 0, "Unpack": 0, "StridedSlice": 0, "Squeeze": 0}
"""Operation that takes a tensor apart to the input which that is."""


def whole_of(graph: Graph, tensor: str) -> str:
    """What `tensor` was taken out of; itself where it is whole."""
    for _ in range(_DEEPEST):
        node = origin(graph, tensor)
        if node is None or node.op not in PARTS or len(node.inputs) <= PARTS[node.op]:
            break
        tensor = node.inputs[PARTS[node.op]]
    return tensor


def part_of(graph: Graph, node: Node, whole: Array, index: int, units: int, H: int) -> Array:
    """Output `index` of `node`, one of `PARTS`, of a weight whose last axis has gates of `H` columns, `units` in the
    graph. Raises LookupError, TypeError, ValueError, ArithmeticError or MalformedError where that cannot be told."""
    if node.op == "Unpack":
        return np.asarray(np.moveaxis(whole, node.attribute("axis").number(3), 0)[index])
    if node.op == "Squeeze":
        return np.asarray(whole.squeeze(axis=0))
    if node.op != "StridedSlice":
        along = origin(graph, node.inputs[0 if node.op == "Split" else 2])
        if along is not None and along.op == "Const" and int(constant(along)) == 0 and whole.ndim > 1:
            return np.split(whole, node.attribute("num_split").number(3))[index]
        return np.split(whole, ends_of(graph, node, units, H), axis=-1)[index]
    if any(node.attribute(name).number(3) for name in ("ellipsis_mask", "new_axis_mask")):
        raise ValueError(node.name)
    begin, end, step = (constant(found).tolist() for t in node.inputs[1:4] if (found := origin(graph, t)))
    drop, *masks = (node.attribute(name).number(3) for name in ("shrink_axis_mask", "begin_mask", "end_mask"))
    picked: list[slice | int] = []
    for axis in range(len(begin)):
        ends = [None if mask >> axis & 1 else at[axis] for mask, at in zip(masks, (begin, end), strict=True)]
        if axis == whole.ndim - 1:
            ends = [at if at is None else _scaled(at, units, H) for at in ends]
        if step[axis] != 1:
            raise ValueError(node.name)
        picked.append(begin[axis] if drop >> axis & 1 else slice(*ends))
    return np.asarray(whole[tuple(picked)])


def ends_of(graph: Graph, node: Node, units: int, H: int) -> int | Sequence[int]:
    """As np.split takes it, where a Split or SplitV divides the last axis: how many times, or after which columns."""
    sizes = origin(graph, node.inputs[1]) if node.op == "SplitV" else None
    if sizes is None or not units or sizes.op != "Const":
        return node.attribute("num_split").number(3)
    return [_scaled(at, units, H) for at in constant(sizes)[:-1].cumsum().tolist()]


def _scaled(at: int, units: int, H: int) -> int:
    """Where a slice begins or ends that is at so many gates in the graph."""
    if not units or at % units:
        raise ValueError(at)
    return at // units * H

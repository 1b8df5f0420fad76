"""Operations of an ONNX graph that turn the steps of a sequence around, before a recurrent node and behind it.

tf2onnx and torch keep a layer that runs backwards as one that runs forward between two of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rnnverify.adapters.onnx.parts import Part
from rnnverify.adapters.onnx.values import Values
from rnnverify.containers.onnx_graph import Node, OnnxGraph

PASSES = {"Identity", "Cast", "Dropout"}  # Dropout hands its input on, where nobody trains
_SLICE = ("starts", "ends", "axes", "steps")
_FARTHEST = 64  # operations of one walk
_END = -(1 << 30)  # before the first step, however many there are


def turned_axis(node: Node, values: Values) -> int | None:
    """The axis along which `node` turns its first input around; None where it does not do that."""
    if node.op == "ReverseSequence":
        return node.integer("time_axis", 0)
    if node.op == "ReverseV2":  # which tf2onnx leaves where the operator set has no ReverseSequence
        axes = values.integers(node.input(1))
        return axes[0] if axes and len(axes) == 1 else None
    if node.op != "Slice":
        return None
    starts, ends, axes, steps = (listed(node, k, name, values) for k, name in enumerate(_SLICE, 1))
    whole = steps == [-1] and axes and len(axes) == 1 and starts == [-1] and ends and ends[0] < _END
    return axes[0] if whole and axes else None


def listed(node: Node, k: int, name: str, values: Values) -> list[int] | None:
    """What newer operator sets have as input `k`, and older ones as an attribute; None where it is neither."""
    return values.integers(node.input(k)) if node.input(k) else node.integers(name)


def with_turned(graph: OnnxGraph, parts: Mapping[str, Part], values: Values) -> dict[str, Part]:
    """`parts`, with those that read a sequence turned around as layers that run backwards."""
    found = {}
    for name, part in parts.items():
        is_turned = part.ways == (False,) and _reads_turned(graph, part, values)
        found[name] = replace(part, turned=True, ways=(True,)) if is_turned else part
    return found


def _reads_turned(graph: OnnxGraph, part: Part, values: Values) -> bool:
    tensor, at = part.reads, 1 if part.batch_first else 0  # the axis of steps
    for _ in range(_FARTHEST):
        node = graph.producers.get(tensor)
        if node is None or node.domain:
            return False
        axis = turned_axis(node, values)
        if axis is not None:
            return axis in (at, at - 3)
        if node.op == "Transpose":
            perm = node.integers("perm") or [2, 1, 0]
            at = perm[at] if sorted(perm) == [0, 1, 2] else 3
        elif node.op not in PASSES:
            return False
        tensor = node.input(0)
    return False

"""Where the states of a recurrence come from, in a TensorFlow graph."""

from __future__ import annotations

from rnnverify.adapters.graph.walk import joined, origins
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant
from rnnverify.containers.tf_graph import Graph, Node, producer

NEXT = ("NextIteration", "RefNextIteration")
"""Operations that hand a state on to the next round of a loop."""


def states_before(graph: Graph, tensor: str, choices: list[Node]) -> list[str]:
    """What a state may be that a step starts from: its initial value, or what the step before computed.

    A state that is no tuple is one tensor [c, h], which a cell splits or slices.
    """
    found = origins(graph, tensor, choices)
    node = producer(graph, found[0]) if len(found) == 1 else None
    if node is None or node.op not in ("Split", "Slice"):
        return found
    second = _is_second(graph, node, found[0])
    both = origins(graph, node.inputs[1 if node.op == "Split" else 0], choices)
    parts = [joined(each) for t in both if (each := producer(graph, t))]
    return [t for pair in parts if len(pair) == 2 for t in origins(graph, pair[second], choices)]


def _is_second(graph: Graph, node: Node, tensor: str) -> bool:
    """Whether `tensor` is the second part of what a Split or Slice takes apart."""
    if node.op == "Split":
        return tensor.endswith(":1")
    begin = producer(graph, node.inputs[1])
    try:
        return bool(begin is not None and begin.op == "Const" and constant(begin)[-1] > 0)
    except (MalformedError, IndexError):
        return False

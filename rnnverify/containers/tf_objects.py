"""Graphs of trackable objects: who holds whom, and under which key a variable's value lies in the checkpoint.

TrackableObjectGraph (tensorflow/core/protobuf/trackable_object_graph.proto, TensorFlow 1.15 to 2.21) is a text tensor
of every checkpoint of objects; SavedObjectGraph (saved_object_graph.proto) is a part of every SavedModel of TensorFlow
2. Node 0 is the root; a node names its children, and may be held by several others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnverify.containers.protobuf import MalformedError, Message, parse

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"  # tensorflow/python/trackable/base.py, OBJECT_GRAPH_PROTO_KEY
_MOST_NODES = 200_000  # a genuine layer has about ten
_VALUE = "VARIABLE_VALUE"


@dataclass(frozen=True)
class Node:
    """One object. A variable has the key of its value in the checkpoint, and the name that it bore in its graph."""

    children: dict[str, int]
    key: str = ""
    full_name: str = ""


def checkpoint_nodes(data: bytes) -> tuple[Node, ...]:
    """The nodes of a TrackableObjectGraph: nodes = 1. Raises `MalformedError`."""
    return _linked([_tracked(message) for message in _nodes(parse(data))])


def saved_nodes(graph: Message) -> tuple[Node, ...]:
    """The nodes of a SavedObjectGraph: nodes = 1, with variable = 7, whose name = 6. Raises `MalformedError`."""
    return _linked([Node(_children(node), full_name=node.message(7).text(6)) for node in _nodes(graph)])


def same_objects(ours: Sequence[Node], theirs: Sequence[Node]) -> dict[int, int]:
    """{node of ours: the node of theirs that is reached by the same names}, as TensorFlow restores objects."""
    found = {0: 0} if ours and theirs else {}
    queue = [*found]
    while queue:
        node = queue.pop()
        others = theirs[found[node]].children
        for name, child in ours[node].children.items():
            if name in others and child not in found:
                found[child] = others[name]
                queue.append(child)
    return found


def _nodes(graph: Message) -> list[Message]:
    count = len(graph.chunks.get(1, []))
    if not 0 < count <= _MOST_NODES:
        raise MalformedError(f"its graph has {count} objects")
    return graph.messages(1)


def _tracked(node: Message) -> Node:
    """TrackableObject: attributes = 2, with name = 1, full_name = 2, checkpoint_key = 3."""
    for attribute in node.messages(2):
        if attribute.text(1) == _VALUE:
            return Node(_children(node), attribute.text(3), attribute.text(2))
    return Node(_children(node))


def _children(node: Message) -> dict[str, int]:
    """ObjectReference, children = 1: node_id = 1, local_name = 2."""
    return {child.text(2): child.number(1) for child in node.messages(1)}


def _linked(nodes: list[Node]) -> tuple[Node, ...]:
    for node in nodes:
        for child in node.children.values():
            if not 0 <= child < len(nodes):
                raise MalformedError(f"an object holds number {child} of {len(nodes)}")
    return tuple(nodes)

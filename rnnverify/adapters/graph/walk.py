"""Walks along a TensorFlow graph, against the direction in which its tensors flow.

Loops need no care of their own: `Merge` and `NextIteration` hand a tensor on unchanged, so a state leads back both
to its initial value and to what the step before computed, and in an unrolled graph straight to that step.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rnnverify.canonical import Array
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant, constant_header
from rnnverify.containers.tf_graph import Graph, Node, producer

PASSES = {
    *("Identity", "Enter", "RefEnter", "Exit", "RefExit", "Merge", "RefMerge", "Switch", "RefSwitch"),
    *("NextIteration", "RefNextIteration", "ReadVariableOp", "StopGradient", "PreventGradient", "CheckNumerics"),
    *("Snapshot", "EnsureShape", "IdentityN"),
}
"""Operations that hand a tensor on unchanged."""

CHOICES = {"Select", "SelectV2"}
"""What dynamic_rnn does with a sequence that is over: the old state in place of the new one."""

_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
_PART = re.compile(r"(.+)/part_(\d{1,4})")
FARTHEST = 4000  # tensors of one walk
_MOST_LOOKUPS = 2_000_000  # of all walks together, and some more for each operation


class TangledError(ValueError):
    """The graph would take too long to read."""


class Bounded(Mapping[str, Node]):
    """A graph that answers so many times, then raises `TangledError`: walks may meet again and again."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._left = _MOST_LOOKUPS + 32 * len(graph)

    def __getitem__(self, name: str) -> Node:
        self._left -= 1
        if self._left < 0:
            raise TangledError
        return self._graph[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._graph)

    def __len__(self) -> int:
        return len(self._graph)


def origins(graph: Graph, tensor: str, choices: list[Node] | None = None) -> list[str]:
    """Where `tensor` comes from: every tensor that reaches it unchanged and was computed, stored or fed.

    With `choices`, walks go through `CHOICES` too, and each one that was met is added there.
    """
    found: list[str] = []
    seen, open_ends = {tensor}, [tensor]
    while open_ends and len(seen) < FARTHEST:
        at = open_ends.pop()
        node = producer(graph, at)
        if node is not None and node.op in PASSES:
            onward = _handed_on(node, at)
        elif node is not None and node.op in CHOICES and choices is not None:
            choices.append(node)
            onward = node.inputs[1:]
        else:
            found.append(at)
            continue
        fresh = [t for t in onward if t not in seen]
        seen.update(fresh)
        open_ends.extend(fresh)
    return found


def _handed_on(node: Node, tensor: str) -> Sequence[str]:
    """The inputs of `node`, one of `PASSES`, that its output `tensor` may be."""
    if node.op == "IdentityN":
        index = int(tensor.partition(":")[2] or 0)
        return node.inputs[index : index + 1]
    return node.inputs[:1] if node.op in ("Switch", "RefSwitch") else node.inputs


def origin(graph: Graph, tensor: str) -> Node | None:
    """The one node that `tensor` comes from; None where there are several."""
    found = origins(graph, tensor)
    return producer(graph, found[0]) if len(found) == 1 else None


@dataclass(frozen=True)
class Stored:
    """A variable, or the constant that a frozen graph holds in its place."""

    name: str  # as a checkpoint has it: without /part_0 where it is partitioned
    partitioned: bool = False


def stored(graph: Graph, tensor: str) -> Stored | None:
    """The variable or constant of one axis or more that `tensor` is, whole; None where it is something else."""
    node = origin(graph, tensor)
    if node is None:
        return None
    if node.op in _VARIABLES:
        return Stored(node.name)
    if node.op == "Const":
        return Stored(node.name) if _has_axes(node) else None
    parts = [_PART.fullmatch(p.name) if (p := origin(graph, t)) else None for t in joined(node)]
    names = {match[1] for match in parts if match}
    in_order = [int(match[2]) for match in parts if match] == list(range(len(parts)))
    return Stored(names.pop(), partitioned=True) if parts and len(names) == 1 and in_order else None


def joined(node: Node) -> Sequence[str]:
    """What a concatenation joins, in order; nothing where `node` is none. Its axis comes first (Concat) or last."""
    if node.op == "Concat":
        return node.inputs[1:]
    return node.inputs[:-1] if node.op == "ConcatV2" else ()


def scalar(node: Node) -> Array | None:
    """The value () of a Const that holds a single number; None for everything else."""
    try:
        if node.op == "Const" and constant_header(node).shape == ():
            return constant(node)
    except MalformedError:
        return None
    return None


def _has_axes(node: Node) -> bool:
    try:
        return bool(constant_header(node).shape)
    except MalformedError:
        return False


def producers_near(graph: Graph, start: Node, most: int) -> list[Node]:
    """The nodes that `start` is computed from, itself first: the nearest ones, `most` at most."""
    found = {start.name: start}
    level = [start]
    while level and len(found) < most:
        sources = [producer(graph, tensor) for node in level for tensor in node.inputs]
        level = [node for node in sources if node is not None and node.name not in found]
        found |= {node.name: node for node in level}
    return list(found.values())[:most]


class Readers:
    """Who reads the outputs of a node: the graph the other way round."""

    def __init__(self, graph: Graph) -> None:
        self._by_node: dict[str, list[tuple[Node, int]]] = {}
        for node in graph.values():
            for k, tensor in enumerate(node.inputs):
                source = producer(graph, tensor)
                if source is not None:
                    self._by_node.setdefault(source.name, []).append((node, k))

    def after(self, start: Node, ends: Callable[[Node], bool]) -> set[str]:
        """The names of nodes that depend on `start`, itself among them, as far as the first ones where it ends.

        They are the nearest ones, `FARTHEST` at most.
        """
        seen, level = {start.name}, [start]
        while level and len(seen) < FARTHEST:
            onward = []
            for node, _ in (each for at in level for each in self._by_node.get(at.name, [])):
                if node.name not in seen and not ends(node):
                    seen.add(node.name)
                    onward.append(node)
            level = onward
        return seen

    def beyond(self, start: Node, through: set[str]) -> Iterator[tuple[Node, int, Node]]:
        """(reader, its input, what it reads) for whatever `start` reaches through operations of the kinds `through`."""
        seen, open_ends = {start.name}, [start]
        while open_ends and len(seen) < FARTHEST:
            at = open_ends.pop()
            for node, k in self._by_node.get(at.name, []):
                yield node, k, at
                if node.op in through and node.name not in seen:
                    seen.add(node.name)
                    open_ends.append(node)

    def alike(self, start: Node, end: Node, other: Node) -> list[Node]:
        """What `other` leads to by the operations that lead from `start` to `end`, taken one after the other.

        Empty where nothing does: they are not near each other.
        """
        level = [other]
        for op, k in self._way(start, end):
            level = [
                node for at in level for node, input_ in self._by_node.get(at.name, []) if (node.op, input_) == (op, k)
            ]
            level = list({node.name: node for node in level}.values())[:FARTHEST]
        return level if level != [other] else []

    def _way(self, start: Node, end: Node) -> list[tuple[str, int]]:
        """The shortest way from `start` to `end`: each operation on it, and the input through which it is reached."""
        ways: dict[str, list[tuple[str, int]]] = {start.name: []}
        level = [start]
        while level and end.name not in ways and len(ways) < FARTHEST:
            onward = []
            for at in level:
                for node, k in self._by_node.get(at.name, []):
                    if node.name not in ways:
                        ways[node.name] = [*ways[at.name], (node.op, k)]
                        onward.append(node)
            level = onward
        return ways.get(end.name, [])

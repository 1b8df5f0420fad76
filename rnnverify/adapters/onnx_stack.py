"""Which recurrent nodes of an ONNX graph make one network, and which of several networks a selector means.

A level is one layer: a node, or two that read the same tensor in opposite directions and whose outputs are merged.
Levels that read each other's whole output are a stack.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnverify.adapters.onnx_flow import Flow, Flows
from rnnverify.adapters.onnx_parts import Part
from rnnverify.canonical import Merge
from rnnverify.containers.onnx_graph import OnnxGraph
from rnnverify.errors import SelectorError, printable

_MOST_SHOWN = 20


@dataclass(frozen=True)
class Level:
    """One layer of a network."""

    parts: tuple[Part, ...]  # one, or the forward and the reverse one
    merge: Merge = "concat"
    merged: str = ""  # of two: the tensor in which they are merged
    axes: str = ""  # of that tensor

    @property
    def name(self) -> str:
        return ",".join(part.name for part in self.parts)

    @property
    def blocks(self) -> tuple[tuple[str, int], ...]:
        return tuple((part.name, d) for part in self.parts for d in range(len(part.ways)))


@dataclass(frozen=True)
class Stack:
    """Levels, the lowest first, and for each whether the graph itself feeds it from the one below."""

    levels: tuple[Level, ...]
    joined: tuple[bool, ...]

    @property
    def name(self) -> str:
        return "+".join(level.name for level in self.levels)


def find_stacks(graph: OnnxGraph, parts: dict[str, Part], flows: Flows) -> list[Stack]:
    """Every stack as the graph has it, by the level on top, in the order of the graph."""
    levels = _levels(graph, parts, flows)
    below = {level.name: _below(level, levels, flows) for level in levels}
    read = {lower.name for lower in below.values() if lower}
    return [_down(level, below) for level in levels if level.name not in read]


def _levels(graph: OnnxGraph, parts: dict[str, Part], flows: Flows) -> list[Level]:
    pairs: dict[str, Level] = {}
    for node in graph.nodes:
        if node.op not in ("Concat", "Add", "Sum", "Mul") or node.domain or not node.output(0):
            continue
        flow = flows.flow(node.output(0))
        if flow is None or len(flow.blocks) != 2 or pairs.keys() & set(flow.names):
            continue
        if len(flow.names) == 1:  # of one node that runs both ways
            if flow.merge != "concat" and len(set(flow.blocks)) == 2:
                level = Level((parts[flow.names[0]],), flow.merge, node.output(0), flow.axes)
                pairs[flow.names[0]] = level
            continue
        two = tuple(parts[name] for name in flow.names)
        if _are_directions(two, flows):
            forward_first = tuple(sorted(two, key=lambda part: part.ways))
            if flow.merge == "concat" and forward_first != two:
                continue  # the reverse one's features come first, which no layer of this version has
            pairs.update(dict.fromkeys(flow.names, Level(forward_first, flow.merge, node.output(0), flow.axes)))
    found = dict.fromkeys(pairs.get(name) or Level((part,)) for name, part in parts.items())
    return list(found)


def _are_directions(two: Sequence[Part], flows: Flows) -> bool:
    one, other = two
    alike = one.op == other.op and one.batch_first == other.batch_first
    opposite = {one.ways, other.ways} == {(False,), (True,)}
    return alike and opposite and flows.origin(one) == flows.origin(other)


def _below(level: Level, levels: Sequence[Level], flows: Flows) -> Level | None:
    """The level whose whole output every part of `level` reads."""
    read = {flows.read_by(part) for part in level.parts}
    flow = read.pop() if len(read) == 1 else None
    if flow is None:
        return None
    return next((lower for lower in levels if lower is not level and _gives(lower, flow)), None)


def _gives(level: Level, flow: Flow) -> bool:
    if level.merge == "concat":
        return flow.merge == "concat" and flow.blocks == level.blocks
    return flow.merge == level.merge and set(flow.blocks) == set(level.blocks)


def _down(top: Level, below: dict[str, Level | None]) -> Stack:
    levels = [top]
    while (lower := below[levels[-1].name]) is not None and lower not in levels:
        levels.append(lower)
    return Stack(tuple(levels[::-1]), (False, *[True] * (len(levels) - 1)))


def select(path: Path, graph: OnnxGraph, parts: dict[str, Part], flows: Flows, selector: str | None) -> Stack:
    """The stack that `selector` names: a node, `a,b` the two directions of a layer, `a+b` a stack of those, the lowest
    first; without one the only stack there is. Raises SelectorError where the choice is not clear."""
    stacks = find_stacks(graph, parts, flows)
    if selector is None:
        if len(stacks) > 1:
            raise SelectorError(path, f"holds {len(stacks)} recurrent parts", f"choose one: {_choices(path, stacks)}")
        return stacks[0]
    whole = next((stack for stack in stacks if stack.name == selector), None)
    if whole is not None:
        return whole
    levels = {level.name: level for stack in stacks for level in stack.levels}
    known = {name: Level((part,)) for name, part in parts.items()} | levels
    chosen: list[Level] = []
    for wanted in [selector] if selector in known else selector.split("+"):
        if wanted not in known:
            found = f"has no recurrent node {printable(wanted, 80) or 'without a name'}"
            raise SelectorError(path, found, f"choose one: {_choices(path, stacks)}")
        if known[wanted] in chosen:
            raise SelectorError(path, f"the node {printable(wanted, 80)} is named twice", "name each one once")
        chosen.append(known[wanted])
    all_levels = list(known.values())
    joined = [_below(upper, all_levels, flows) == lower for lower, upper in itertools.pairwise(chosen)]
    return Stack(tuple(chosen), (False, *joined))


def _choices(path: Path, stacks: Sequence[Stack]) -> str:
    """What can be typed, ready to paste."""
    lines = []
    for stack in stacks[:_MOST_SHOWN]:
        kinds = "/".join(dict.fromkeys(part.op for level in stack.levels for part in level.parts))
        lines.append(f"{printable(path, 300)}#{printable(stack.name)}" + (f" ({kinds})" if kinds != "RNN" else ""))
    more = [f"and {len(stacks) - _MOST_SHOWN} more"] if len(stacks) > _MOST_SHOWN else []
    return ", ".join(lines + more)

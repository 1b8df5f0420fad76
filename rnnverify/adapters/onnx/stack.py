"""Which recurrent nodes of an ONNX graph make one network, and which of several networks a selector means.

A level is one layer: a node, or two that read the same tensor in opposite directions and whose outputs are merged.
Levels that read each other's whole output are a stack.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnverify.adapters.onnx.flow import Block, Flow, Flows
from rnnverify.adapters.onnx.parts import Part
from rnnverify.canonical import Merge
from rnnverify.containers.onnx_graph import OnnxGraph
from rnnverify.errors import SelectorError, printable

_MOST_SHOWN = 20
_FOLLOWED = {"Concat", "Add", "Sum", "Mul", "Div", "Slice", "ReverseSequence", "ReverseV2"}
"""Operations behind which two directions are one tensor, or outputs are turned around."""


@dataclass(frozen=True)
class Level:
    """One layer of a network."""

    parts: tuple[Part, ...]  # one, or the forward and the reverse one
    merge: Merge = "concat"
    merged: str = ""  # of two: the tensor in which they are merged, where it has every step
    axes: str = ""  # of that tensor
    restored: bool = True  # a direction that runs backwards gives its outputs in the order of the input's steps

    @property
    def name(self) -> str:
        return ",".join(part.name for part in self.parts)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """What the next level reads, where it reads all of this one."""
        return tuple(Block(p.name, d, p.turned and self.restored) for p in self.parts for d in range(len(p.ways)))


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
    restored: set[str] = set()
    for node in graph.nodes:
        for output in node.outputs[:1] if node.op in _FOLLOWED and not node.domain else ():
            flow = flows.flow(output)
            if flow is None:
                continue
            restored.update(block.part for block in flow.blocks if block.turned)
            if len(flow.blocks) == 2 and (flow.merge == "ave" or not pairs.keys() & set(flow.names)):
                pair = _pair(parts, flow, output, flows)
                pairs.update(dict.fromkeys(flow.names, pair) if pair else {})
    found = dict.fromkeys(pairs.get(name) or _alone(part, name in restored, graph) for name, part in parts.items())
    return list(found)


def _pair(parts: dict[str, Part], flow: Flow, output: str, flows: Flows) -> Level | None:
    """The two directions that `flow`, the tensor `output`, is made of, as one layer; None where they are not that."""
    last = any(block.last for block in flow.blocks)
    merged, axes = ("", "") if last or flow.fixed else (output, flow.axes)
    if len(flow.names) == 1:  # of one node that runs both ways
        whole = flow.merge != "concat" and len(set(flow.blocks)) == 2
        return Level((parts[flow.names[0]],), flow.merge, merged, axes) if whole else None
    two = tuple(parts[name] for name in flow.names)
    if not _are_directions(two, flows):
        return None
    forward_first = tuple(sorted(two, key=lambda part: part.ways))
    if flow.merge == "concat" and forward_first != two:
        return None  # the reverse one's features come first, which no layer of this version has
    turned = {block.part: block.turned for block in flow.blocks}
    restored = all(turned[part.name] or last for part in two if part.turned)
    return Level(forward_first, flow.merge, merged, axes, restored)


def _alone(part: Part, turned_back: bool, graph: OnnxGraph) -> Level:
    """A level of one part. Where one that runs backwards gives its last state only, no order shows: that of
    processing is taken, in which this state is the last output, as Keras and TensorFlow have it."""
    read = part.gives and (part.gives in graph.readers or part.gives in graph.outputs)
    return Level((part,), restored=turned_back if part.turned else part.ways != (True,) or bool(read))


def _are_directions(two: Sequence[Part], flows: Flows) -> bool:
    one, other = two
    alike = (one.op, one.batch_first, one.loop is None) == (other.op, other.batch_first, other.loop is None)
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
    known = {name: Level((part,), restored=not part.turned) for name, part in parts.items()} | levels
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

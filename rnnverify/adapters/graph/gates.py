"""The gated recurrences of a TensorFlow graph: what a cell computes, whose variables a checkpoint names.

A step is computed from small random numbers (`values`) and held against the formula into which the cell is read,
under every activation, and with every constant that the graph has as a forget bias or a clip of the cell state. So what
no checkpoint states is found, and all that it takes for granted, such as the order of the gates, is proved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.recurrence import Recurrence, apart, is_added, reversed_in_time, states_of
from rnnverify.adapters.graph.states import NEXT, states_before
from rnnverify.adapters.graph.time import joins, reads_lengths, restores_time, trace_input
from rnnverify.adapters.graph.values import WIDEST, Key, Step, UnknownError, key_of, weights_of
from rnnverify.adapters.graph.walk import FARTHEST, Bounded, Readers, joined, origin
from rnnverify.adapters.tensorflow.gates import LAYOUTS, gating, with_forget_bias
from rnnverify.adapters.tensorflow.names import Cell, ordered
from rnnverify.canonical import Array, Layer
from rnnverify.cells import recurrence
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_graph import Graph, Node, producer

_MOST_USES = 64  # steps of one cell: an unrolled graph has each of them
_NEAR = 400  # nodes that are looked at to find the cell that computed a state
_B = 64  # steps that are computed, of inputs small and large
_H = 3
_KERNEL = {"MatMul": 1, "LSTMBlockCell": 3, "GRUBlockCell": 2, "BlockLSTM": 4, "BlockLSTMV2": 4}
"""Operation that has a kernel to the input which that is."""
_CLIPS = {"ClipByValue", "Minimum", "Maximum", "LSTMBlockCell"}


@dataclass(frozen=True)
class _Use:
    """One place in which a graph uses a kernel: the node, and the tensors x and h that the product is of."""

    node: Node
    x: str
    h: str


@dataclass(frozen=True)
class _Probe:
    """A cell of `_H` units: random weights by role and by variable, and what it starts from."""

    arrays: Mapping[str, Array]
    weights: Mapping[str, Array]
    x: Array  # (B, I)
    h: Array  # (B, P)
    c: Array  # (B, H)


def find_gated(graph: Graph, cells: Sequence[Cell]) -> dict[str, set[Recurrence]]:
    """By the name of the kernel, every way in which the graph computes one of `cells`, those of `tensorflow/gates`.

    A way without an activation is none of the formulas. Raises `TangledError` where that would take too long.
    """
    graph = Bounded(graph)
    readers = Readers(graph)
    by_kernel = {cell.variables["kernel"][0]: cell for cell in cells if _may_be_computed(cell)}
    uses: dict[str, list[_Use]] = {}
    for node in graph.values():
        at = _KERNEL.get(node.op)
        names = weights_of(graph, node.inputs[at]) if at and len(node.inputs) > at else ()
        if names and names[0] in by_kernel and len(uses.setdefault(names[0], [])) < _MOST_USES:
            uses[names[0]] += _use(graph, node)
    return {
        kernel: found
        for kernel, places in uses.items()
        if (found := apart(_recurrences(graph, readers, by_kernel[kernel], places)))
    }


def _may_be_computed(cell: Cell) -> bool:
    over_both = "kernel" in cell.variables and "recurrent_kernel" not in cell.variables  # not as Keras has it
    return over_both and sum(map(len, cell.variables.values())) < WIDEST // 2


def _use(graph: Graph, node: Node) -> list[_Use]:
    if node.op == "MatMul":
        concatenation = origin(graph, node.inputs[0])
        parts = joined(concatenation) if concatenation else ()
        return [_Use(node, *parts)] if len(parts) == 2 else []
    if node.op == "GRUBlockCell":
        return [_Use(node, *node.inputs[:2])]
    skip = node.op.startswith("BlockLSTM")  # seq_len_max comes first
    return [_Use(node, node.inputs[skip], node.inputs[skip + 2])]


def _recurrences(graph: Graph, readers: Readers, cell: Cell, uses: Sequence[_Use]) -> Iterator[Recurrence]:
    by_name = {use.node.name: use for use in uses}
    probe = _probe(cell)
    for use in uses:
        if use.node.op.startswith("BlockLSTM"):
            yield from _fused(graph, readers, cell, use)
            continue
        choices: list[Node] = []
        found = _computed_by(graph, states_before(graph, use.h, choices), by_name)
        if found is None:
            continue
        tensor, other = found
        inside = readers.after(other.node, lambda n: n.op in NEXT or n.name in by_name)
        step = _step(graph, other, inside, probe)
        try:
            values = step.value(tensor)
            carried = carried_on(graph, step, inside)
            activation, forget_bias, clip = _held(cell, probe, step, values, step.value(carried) if carried else None)
        except UnknownError:
            continue
        state = producer(graph, tensor)
        if state is None or (not activation and len(inside) >= FARTHEST):  # where not all of it may have been seen
            continue
        read = trace_input(graph, use.x)
        reverse = reversed_in_time(read, trace_input(graph, other.x))
        yield replace(
            named(cell),
            activation=activation,
            operations=("proj_clip",) if state.op in _CLIPS and not activation else tuple(sorted(step.operations)),
            forget_bias=forget_bias,
            cell_clip=clip,
            reverse=reverse,
            restored=not reverse or read.unrolled is not None or read.by_index or restores_time(readers, state),
            lengths=any(reads_lengths(graph, choice) for choice in choices),
            residual=is_added(graph, readers, state, use.x),
            joins=joins(readers, state),
            states=states_of(graph, readers, state, use.node, lambda node: node.name in by_name),
            inputs=frozenset({use.x}),
        )


def named(cell: Cell) -> Recurrence:
    """What is known of a cell by its names: which variables it has."""
    gated = tuple((role, name) for role, names in cell.variables.items() for name in names)
    return Recurrence(cell.variables["kernel"][0], gated=gated)


def _fused(graph: Graph, readers: Readers, cell: Cell, use: _Use) -> Iterator[Recurrence]:
    """BlockLSTM: all steps at once, i, ci, f, o as LSTMBlockCell has them; in V2 i, f, ci, o, and no forget bias."""
    if use.node.op != "BlockLSTM" or cell.kind != "lstm":
        return
    step = Step(graph, (), {}, {}, np.zeros(0))
    try:
        forget_bias, clip = step.number(use.node, "forget_bias", 1.0), step.number(use.node, "cell_clip", 3.0)
        looks = bool(use.node.attribute("use_peephole").number(5))
    except MalformedError:
        return
    read = trace_input(graph, use.x)
    yield replace(
        named(cell),
        activation="tanh" if looks == ("peephole_i" in cell.variables) else "",
        operations=(use.node.op,),
        forget_bias=forget_bias,
        cell_clip=max(clip, 0.0),
        reverse=read.reverse,
        restored=not read.reverse or restores_time(readers, use.node),
        joins=joins(readers, use.node),
        states=frozenset({use.node.name}),
        inputs=frozenset({use.x}),
    )


def _computed_by(graph: Graph, tensors: Sequence[str], uses: Mapping[str, _Use]) -> tuple[str, _Use] | None:
    """The tensor among these that the nearest of `uses` computes, and that one; None where none of them does."""
    near = [(distance, tensor, use) for tensor in tensors for distance, use in _nearest(graph, tensor, uses)]
    return min(near, key=lambda each: each[0])[1:] if near else None


def _nearest(graph: Graph, tensor: str, uses: Mapping[str, _Use]) -> Iterator[tuple[int, _Use]]:
    seen, level = {tensor}, [tensor]
    distance = 0
    while level and len(seen) < _NEAR:
        onward: list[str] = []
        for at in level:
            node = producer(graph, at)
            if node is None or node.op in NEXT:
                continue
            if node.name in uses:
                yield distance, uses[node.name]
                return
            onward += [t for t in dict.fromkeys(node.inputs) if t not in seen]
            seen.update(onward)
        level = onward
        distance += 1


def _probe(cell: Cell) -> _Probe:
    """Random weights for `cell`, and inputs small and large."""
    rng = np.random.default_rng(0)
    layout = LAYOUTS[cell.kind]
    most = max(len(names) for names in cell.variables.values())
    I, P = 1 + most, 2 if "projection" in cell.variables else _H
    shapes = layout.shapes((I, P, _H))
    arrays = {role: rng.normal(0, 0.7, shapes[role]) for role in cell.variables if role in shapes}
    weights: dict[str, Array] = {}
    for role, array in arrays.items():
        names = ordered(cell.variables[role])
        weights.update(zip(names, np.array_split(array, len(names)), strict=True))
    scale = np.geomspace(0.1, 10, _B)[:, None]
    x, h = scale * rng.normal(size=(_B, I)), rng.uniform(-1, 1, (_B, P))
    return _Probe(arrays, weights, x, h, scale[::-1] * 10 * rng.normal(size=(_B, _H)))


def _step(graph: Graph, use: _Use, inside: set[str], probe: _Probe) -> Step:
    given = {key_of(graph, use.x): probe.x, key_of(graph, use.h): probe.h}
    return Step(graph, inside, given, probe.weights, probe.c)


def carried_on(graph: Graph, step: Step, inside: set[str]) -> str:
    """The cell state after the step, where the loop shows which tensor that is."""
    before: Key = step.carried or frozenset()
    found = {t for tensor in before for t in states_before(graph, tensor, [])}
    after = [t for t in found if (node := producer(graph, t)) and node.name in inside]
    return after[0] if len(after) == 1 and len(found) > 1 else ""


def _held(cell: Cell, probe: _Probe, step: Step, h: Array, c: Array | None) -> tuple[str, float, float]:
    """The activation, the forget bias and the clip with which the formula gives h (B, P) and c (B, H), which may lack.

    No activation where there are none. Raises `UnknownError` where a GRU has a cell state.
    """
    layout = LAYOUTS[cell.kind]
    if layout.cell == "gru" and step.carried is not None:
        raise UnknownError
    added = {0.0, *step.constants} if layout.cell == "lstm" else {0.0}
    clips = {0.0, *map(abs, step.constants)} if step.operations & _CLIPS and layout.cell == "lstm" else {0.0}
    plain = layout.make(probe.arrays)
    for name, forget_bias, clip in product(ACTIVATIONS, sorted(added, key=abs), sorted(clips)):
        direction = with_forget_bias(cell.kind, plain, forget_bias) if forget_bias else plain
        layer = Layer((direction,), name, layout.cell, gating=replace(gating(cell.kind, probe.arrays), cell_clip=clip))
        formula = recurrence(layer, direction)
        state = (probe.h, probe.c) if layout.cell == "lstm" else (probe.h,)
        with np.errstate(all="ignore"):
            found = formula.step(formula.project(probe.x), state)
        if same(found[0], h) and (c is None or same(found[1], c)):
            return name, forget_bias, clip
    return "", 0.0, 0.0


def same(found: Array, wanted: Array) -> bool:
    return found.shape == wanted.shape and bool(np.allclose(found, wanted, rtol=1e-6, atol=1e-9, equal_nan=True))

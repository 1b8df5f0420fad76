"""Keras' GRU and LSTM cells in a TensorFlow graph: x and h have a product each, with a kernel of their own.

As in `gates`, a step is computed from small random numbers and held against the formula, here under every
activation of the gates too, and of a GRU without biases with the reset before and after its product. Kernels may be
taken apart, gate by gate (`implementation=1`). A cell that is unrolled is not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.activation import is_transposed
from rnnverify.adapters.graph.gates import carried_on, named, same
from rnnverify.adapters.graph.parts import whole_of
from rnnverify.adapters.graph.recurrence import Recurrence, apart, is_added
from rnnverify.adapters.graph.states import NEXT, states_before
from rnnverify.adapters.graph.time import joins, reads_lengths, restores_time, trace_input
from rnnverify.adapters.graph.values import Step, UnknownError, key_of, weights_of
from rnnverify.adapters.graph.walk import FARTHEST, Bounded, Readers
from rnnverify.adapters.tensorflow.gates import LAYOUTS, gating
from rnnverify.adapters.tensorflow.names import Cell
from rnnverify.canonical import Array, Gating, Layer
from rnnverify.cells import recurrence
from rnnverify.containers.tf_graph import Graph, Node, producer

_B, _I, _H = 64, 2, 3  # of the step that is computed, on inputs small and large
ENDS = {*NEXT, "Merge", "RefMerge"}  # of a step: a loop may be laid out without a NextIteration
_MOST_USES = 16  # products with one weight: a loop has one, or one for each gate

Shapes = Mapping[str, tuple[int, ...]]


def find_keras(graph: Graph, cells: Sequence[Cell], shapes: Shapes) -> dict[str, set[Recurrence]]:
    """By the name of the kernel, every way in which the graph computes one of those `cells` that are of Keras and have
    gates; `shapes` are of the variables. A way without an activation is none of the formulas.

    Raises `TangledError` where that would take too long.
    """
    kept = {cell.variables["kernel"][0]: cell for cell in cells if _is_plain(cell, shapes)}
    if not kept:
        return {}
    graph = Bounded(graph)
    readers = Readers(graph)
    products = products_with(graph)
    found = {}
    for kernel, cell in kept.items():
        over_x, over_h = (products.get(cell.variables[role][0], []) for role in ("kernel", "recurrent_kernel"))
        if max(len(over_x), len(over_h)) <= _MOST_USES:
            found[kernel] = apart(_recurrences(graph, readers, cell, shapes, over_x, over_h))
    return {kernel: ways for kernel, ways in found.items() if ways}


def products_with(graph: Graph) -> Mapping[str, list[Node]]:
    """By the name of a weight, the products with it, or with parts of it, on the right."""
    products: dict[str, list[Node]] = {}
    for node in graph.values():
        if node.op == "MatMul" and not is_transposed(node):
            for name in weights_of(graph, whole_of(graph, node.inputs[1])):
                products.setdefault(name, []).append(node)
    return products


def _is_plain(cell: Cell, shapes: Shapes) -> bool:
    """Whether it is a cell of Keras of which each variable is one, in a shape that allows a step."""
    if not cell.kind.startswith("keras") or not {"kernel", "recurrent_kernel"} <= cell.variables.keys():
        return False
    whole = all(len(names) == 1 and names[0] in shapes for names in cell.variables.values())
    return whole and len(shapes[cell.variables["recurrent_kernel"][0]]) == 2


def _recurrences(
    graph: Graph, readers: Readers, cell: Cell, shapes: Shapes, over_x: Sequence[Node], over_h: Sequence[Node]
) -> Iterator[Recurrence]:
    after = {node.name: readers.after(node, lambda n: n.op in ENDS) for node in (*over_x, *over_h)}
    units = shapes[cell.variables["recurrent_kernel"][0]][0]
    arrays = _arrays(cell, len(shapes.get(cell.variables.get("bias", [""])[0], ())))
    weights = {cell.variables[role][0]: array for role, array in arrays.items()}
    rng, scale = np.random.default_rng(1), np.geomspace(0.1, 10, _B)[:, None]
    x, h, c = (scale * rng.normal(size=(_B, _I)), rng.uniform(-1, 1, (_B, _H)), scale[::-1] * rng.normal(size=(_B, _H)))
    for node in over_h:
        state = node.inputs[0]
        choices: list[Node] = []
        found = [
            t for t in states_before(graph, state, choices) if (p := producer(graph, t)) and p.name in after[node.name]
        ]
        beside = [other for other in over_x if after[other.name] & after[node.name]]
        inputs = {key_of(graph, other.inputs[0]): other.inputs[0] for other in beside}
        if len(found) != 1 or len(inputs) != 1:
            continue
        (tensor,), (read_from,) = found, inputs.values()
        inside = set[str]().union(*(names for names in after.values() if names & after[node.name]))
        step = Step(graph, inside, {key_of(graph, read_from): x, key_of(graph, state): h}, weights, c, units)
        try:
            value = step.value(tensor)
            carried = carried_on(graph, step, inside)
            fitting = _held(cell, arrays, (x, h, c), value, step.value(carried) if carried else None)
        except UnknownError:
            continue
        new = producer(graph, tensor)
        if new is None or (cell.kind == "keras_gru" and step.carried) or (not fitting and len(inside) >= FARTHEST):
            continue
        read = trace_input(graph, read_from)
        activation, gates = fitting or ("", Gating())
        yield replace(
            named(cell),
            activation=activation,
            operations=tuple(sorted(step.operations)),
            gate_activation=gates.activation,
            reset_after=gates.reset_after if cell.kind == "keras_gru" else None,
            reverse=read.reverse,
            restored=not read.reverse or read.by_index or restores_time(readers, new),
            lengths=any(reads_lengths(graph, choice) for choice in choices),
            residual=is_added(graph, readers, new, read_from),
            joins=joins(readers, new),
            states=frozenset({new.name}),
            inputs=frozenset({read_from}),
        )


def _arrays(cell: Cell, bias_axes: int) -> Mapping[str, Array]:
    """Random weights by role; a bias of two axes is two."""
    rng = np.random.default_rng(0)
    shapes = dict(LAYOUTS[cell.kind].shapes((_I, _H, _H)))
    if bias_axes == 2:
        shapes["bias"] = (2, *shapes["bias"])
    return {role: rng.normal(0, 0.7, shapes[role]) for role in cell.variables if role in shapes}


def _held(
    cell: Cell, arrays: Mapping[str, Array], start: tuple[Array, Array, Array], h: Array, c: Array | None
) -> tuple[str, Gating] | None:
    """The activation and the gates with which the formula makes h (B, H) and c (B, H), which may lack, of `start`: x,
    h and c. None where there are none."""
    layout, plain = LAYOUTS[cell.kind], gating(cell.kind, arrays)
    x, *states = start
    resets = (True, False) if layout.cell == "gru" and "bias" not in arrays else (plain.reset_after,)
    direction = layout.make(arrays)
    for reset_after, gate, name in product(
        resets, sorted(ACTIVATIONS, key=lambda each: each != "sigmoid"), ACTIVATIONS
    ):
        gates = replace(plain, activation=gate, reset_after=reset_after)
        formula = recurrence(Layer((direction,), name, layout.cell, gating=gates), direction)
        with np.errstate(all="ignore"):
            found = formula.step(formula.project(x), tuple(states if layout.cell == "lstm" else states[:1]))
        if same(found[0], h) and (c is None or same(found[1], c)):
            return name, gates
    return None

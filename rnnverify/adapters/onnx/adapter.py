"""ONNX: the operators RNN, GRU and LSTM of a graph, to canonical form.

What each node holds is in `weights` and `activations`; which nodes make one network, in `stack`. The
file's own nodes are run as they stand (`runners/run_onnx.py`); here the graph is read, and nothing of it executed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from rnnverify.adapters.onnx import around as onnx_around
from rnnverify.adapters.onnx.activations import activations_of, is_symmetric
from rnnverify.adapters.onnx.flow import Flows
from rnnverify.adapters.onnx.loops import LoopCell
from rnnverify.adapters.onnx.parts import Part, find_parts, intact, refuse_without
from rnnverify.adapters.onnx.remarks import assumptions, layers_around, notes, roles_of, unused_of
from rnnverify.adapters.onnx.stack import Level, Stack, select
from rnnverify.adapters.onnx.time import with_turned
from rnnverify.adapters.onnx.values import Values
from rnnverify.adapters.onnx.weights import CELLS, INPUTS, Weights, read_weights
from rnnverify.adapters.reading import Reading, Recipe
from rnnverify.canonical import Array, Gating, Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.containers.onnx_graph import OnnxGraph
from rnnverify.errors import FileError, UnsupportedError, printable
from rnnverify.parametrised import spelled


def read(contents: Contents, selector: str | None) -> Reading:
    """The network that `selector` names: `node`, `lower+upper`, or all where the graph stacks its nodes itself.

    Raises SelectorError where the choice is not clear, UnsupportedError for what this version does not read, FileError
    for nodes whose weights are missing, misshapen or damaged.
    """
    with intact(contents.path):
        return _read(contents, find(contents, selector))


def _read(contents: Contents, nodes: Found) -> Reading:
    path, graph, stack, values = contents.path, nodes.graph, nodes.stack, nodes.values
    chosen = [part for level in stack.levels for part in level.parts]
    weights = {part.name: read_weights(path, part, values) for part in chosen}
    layers = [_layer(contents, level, weights) for level in stack.levels]
    for (lower, below), (upper, above) in itertools.pairwise(zip(stack.levels, layers, strict=True)):
        if below.output_size != above.input_size:
            found = f"{printable(upper.name, 80)} reads {above.input_size} features, but {printable(lower.name, 80)} "
            advice = "stack nodes from the input up, separated by +"
            raise FileError(path, f"{found}gives {below.output_size}", advice)
    roles = roles_of(stack, weights)
    network = Network(tuple(layers))
    around = onnx_around.find(graph, stack, values, (network.input_size, network.output_size))
    unused = unused_of(contents, graph, nodes.parts, {**roles, **around.roles})
    reading = Reading(
        network=network,
        recipe=_recipe(stack, weights, graph, nodes.flows),
        part=stack.name,
        activation_stated=True,
        roles=roles,
        unused=unused,
        not_compared=tuple(layers_around(graph, unused, chosen)),
        assumptions=tuple(assumptions(graph, stack, values)),
        notes=tuple(notes(contents, stack, weights)),
    )
    return around.beside(reading)


@dataclass(frozen=True)
class Found:
    """The recurrent nodes of a graph that make the network that was asked for; their weights are not looked at."""

    contents: Contents
    graph: OnnxGraph
    parts: Mapping[str, Part]  # all there are
    values: Values
    flows: Flows
    stack: Stack


def find(contents: Contents, selector: str | None) -> Found:
    """The nodes that `selector` names. Raises as `read` does."""
    path = contents.path
    if "graph" not in contents.metadata or contents.framework != "onnx":
        raise UnsupportedError(path, f"is a {contents.form}, no ONNX model", "leave the prefix onnx: out")
    graph = cast(OnnxGraph, contents.metadata["graph"])
    with intact(path):
        parts, values = find_parts(path, graph), Values(path, graph)
        if not parts:
            refuse_without(path, graph)
        parts = with_turned(graph, parts, values)
        flows = Flows(graph, parts, values)
        return Found(contents, graph, parts, values, flows, select(path, graph, parts, flows, selector))


def _layer(contents: Contents, level: Level, weights: Mapping[str, Weights]) -> Layer:
    path, shown = contents.path, printable(level.name, 80)
    part = level.parts[0]
    directions = tuple(direction for part in level.parts for direction in weights[part.name].directions)
    if len({(d.input_size, d.hidden_size) for d in directions}) > 1:
        raise UnsupportedError(path, f"the directions of {shown} differ in size", "select one of them")
    if part.loop:
        if len({each.loop.layer.formula for each in level.parts if each.loop}) > 1:
            raise UnsupportedError(path, f"the directions of {shown} compute different formulas", "select one of them")
        made = replace(part.loop.layer, directions=directions, merge=level.merge, name=level.name)
        return replace(made, time_restored=level.restored)
    stated = {(activations_of(path, each), each.clip, each.reset_after) for each in level.parts}
    if len(stated) > 1:
        found = f"the directions of {shown} have other activations, clips or resets"
        raise UnsupportedError(path, found, "this version compares layers with the same ones in both directions")
    functions, clip, reset_after = stated.pop()
    if part.coupled and not is_symmetric(functions[0]):
        found = f"{shown} states input_forget with the gate activation {functions[0]}, where 1 - f(x) is not f(-x)"
        raise UnsupportedError(path, found, "this version compares such cells with sigmoid or hard_sigmoid gates")
    clipped = [spelled(clip=clip) + name for name in functions]
    order = level.restored
    if part.op == "RNN":
        return Layer(directions, clipped[0], "rnn", level.merge, order, level.name)
    output = functions[2] if part.op == "LSTM" and functions[2] != clipped[1] else ""  # which no clip comes before
    gating = Gating(clipped[0], output, reset_after or part.op == "LSTM")
    return Layer(directions, clipped[1], CELLS[part.op], level.merge, order, level.name, gating)


def _recipe(stack: Stack, weights: Mapping[str, Weights], graph: OnnxGraph, flows: Flows) -> Recipe:
    """What the ONNX runner cuts out of the file: nodes by their place in the graph, and what joins them.

    A graph made for sequences of one length joins them for that length only: then they are run one after the other.
    """
    made: list[Mapping[str, object]] = []
    for level, joined in zip(stack.levels, stack.joined, strict=True):
        nodes = [
            {
                "index": part.node.index,
                "op": part.op,
                "ways": list(part.ways),
                "hidden_size": weights[part.name].directions[0].hidden_size,
                "tensors": dict(_stored(graph, part)),
                "turned": part.turned,
                "loop": _spec(part.loop) if part.loop else None,
            }
            for part in level.parts
        ]
        merged = {"merge": level.merge, "merged": level.merged, "axes": level.axes, "restored": level.restored}
        bodies = [list(body) for body in graph.bodies]
        fixed = any(flow.fixed for part in level.parts if (flow := flows.read_by(part)))
        made.append({"nodes": nodes, "joined": joined and not fixed and graph.opset >= 7, "bodies": bodies, **merged})
    tensors: dict[str, Array] = {}  # the runner takes them from the file
    return Recipe("onnx", tuple(made), tensors, cannot_run=_cannot_run(stack, weights))


def _spec(loop: LoopCell) -> dict[str, object]:
    """What the runner has to know of a loop: where its states, input and outputs are."""
    named = {"x": loop.x, "y": loop.y, "after": loop.after, "states": list(loop.states)}
    return {**named, "masks": list(loop.masks), "lengths": list(loop.lengths)}


def _stored(graph: OnnxGraph, part: Part) -> Iterator[tuple[str, str]]:
    """The inputs of a node that are stored tensors as they are, by their role."""
    for role, k in INPUTS.items() if part.loop is None else ():
        if part.node.input(k) in graph.constants:
            yield role, part.node.input(k)


def _cannot_run(stack: Stack, weights: Mapping[str, Weights]) -> str:
    """What keeps onnxruntime from running the nodes, as far as it can be told from the file."""
    parts = [part for level in stack.levels for part in level.parts]
    return next(_obstacles(parts, weights), "")


def _obstacles(parts: Sequence[Part], weights: Mapping[str, Weights]) -> Iterator[str]:
    for part in parts:
        if part.batch_first:
            yield f"onnxruntime computes layout 0 only, and {printable(part.name, 80)} states 1"
        if any(value.array.dtype == "float64" for value in weights[part.name].values.values()):
            yield f"onnxruntime computes {part.op} in float32 only, and the weights are float64"

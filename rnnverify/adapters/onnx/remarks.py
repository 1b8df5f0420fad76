"""What is said of an ONNX file beside its network: where its tensors went, what was left out, what is assumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rnnverify.adapters.onnx.parts import Part
from rnnverify.adapters.onnx.stack import Stack
from rnnverify.adapters.onnx.values import Values
from rnnverify.adapters.onnx.weights import Weights
from rnnverify.containers.contents import Contents
from rnnverify.containers.onnx_graph import RECURRENT, Node, OnnxGraph
from rnnverify.errors import printable

_MOVES = {"Identity", "Cast", "Slice", "Split", "Gather", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Expand"}
_CARRIES = (_MOVES - {"Gather"}) | {"Concat"}  # a Gather of weights is an embedding
_FARTHEST = 64
_STATES = ("initial_h", "initial_c")


def roles_of(stack: Stack, weights: Mapping[str, Weights]) -> dict[str, str]:
    """Every tensor that went into the network, and where it went; the lowest level is layer 0."""
    roles: dict[str, dict[str, None]] = {}
    for k, level in enumerate(stack.levels):
        for part in level.parts:
            both = len(part.ways) == 2
            where = f"layer {k}" + (" reverse" if part.ways == (True,) else "")
            for leaf, role in weights[part.name].roles:  # more than once where a graph joins a tensor of its gates
                roles.setdefault(leaf, {})[f"{where} {role}" + (", both directions" if both else "")] = None
    return {leaf: ", ".join(said) for leaf, said in roles.items()}


def unused_of(
    contents: Contents, graph: OnnxGraph, parts: Mapping[str, Part], roles: Mapping[str, str]
) -> dict[str, str]:
    """Every floating-point tensor of the file that has no role, and why."""
    owners = {name: part.name for part in parts.values() for name in part.node.inputs if name}
    states = {name for part in parts.values() for name in part.initial}
    unused = {}
    for name in contents.tensors:
        if name in roles:
            continue
        if name in states:
            unused[name] = "an initial state, in whose place every side gets the same ones"
        elif name in owners:
            unused[name] = f"belongs to the node {printable(owners[name], 80)}, not selected"
        else:
            readers = [node.op for node in graph.readers.get(name, [])[:1]]
            unused[name] = f"read by {printable(readers[0], 40)}" if readers else "read by no node"
    return unused


def layers_around(graph: OnnxGraph, unused: Mapping[str, str], chosen: Sequence[Part]) -> Iterator[str]:
    """The operations that hold the other weights: `Gemm /fc/Gemm`. Constants of one element are no weights."""
    recurrent = {part.node.index for part in chosen}
    for node in graph.nodes:
        held = [name for name in node.inputs if name in unused and _is_weight(graph, name)]
        if held and node.index not in recurrent and node.op not in _CARRIES:
            yield f"{printable(node.op, 40)} {printable(node.name, 60)}".rstrip()


def _is_weight(graph: OnnxGraph, name: str) -> bool:
    shape = graph.constants[name].shape
    return any(size > 1 for size in shape)


def assumptions(graph: OnnxGraph, stack: Stack, values: Values) -> Iterator[str]:
    """What the graph does beside its recurrent nodes, and the comparison does not."""
    for level in stack.levels:
        for part in level.parts:
            yield from _of_part(graph, part, values)
    names = [printable(level.name, 80) for level in stack.levels]
    if len(names) > 1 and not all(stack.joined[1:]):
        order = ", then ".join(names)
        yield f"{order}: each reads the outputs of the one before, as selected; the graph has other operations between"


def _of_part(graph: OnnxGraph, part: Part, values: Values) -> Iterator[str]:
    shown = printable(part.name, 80)
    if part.node.within:
        yield f"{shown} stands in the {printable(part.node.within, 120)}, which is taken"
    for tensor in part.lengths:
        lengths = _source(graph, tensor)
        yield f"{shown} is told the lengths of the comparison, not its own sequence_lens, {lengths}"
    for name, tensor in zip(_STATES, part.initial, strict=False):
        if tensor and not values.zeros(tensor):
            yield f"{shown} starts from the states of the comparison, not from its {name}, {_source(graph, tensor)}"


def _source(graph: OnnxGraph, tensor: str) -> str:
    """Where a tensor comes from, in words."""
    if tensor in graph.inputs:
        return f"the input {printable(tensor, 60)}"
    if tensor in graph.constants:
        return f"the constant {printable(tensor, 60)}"
    node = graph.producers.get(tensor)
    if node is None:
        return printable(tensor, 60)
    root: Node | None = node
    for _ in range(_FARTHEST):  # along what is cut, turned and copied
        if root is None or root.op not in _MOVES or root.domain:
            break
        tensor = root.input(0)
        if tensor in graph.inputs:
            return f"made from the input {printable(tensor, 60)}"
        root = graph.producers.get(tensor)
    if root is not None and root.op in RECURRENT:
        return f"the states of {printable(root.name, 60) or root.op}"
    return f"computed by {printable(node.op, 40)}"


def notes(contents: Contents, stack: Stack, weights: Mapping[str, Weights]) -> Iterator[str]:
    """What the user should know of the weights."""
    yield from contents.notes
    for part in (part for level in stack.levels for part in level.parts):
        if part.loop:
            yield f"{printable(part.name, 80)} is a {part.node.op}, whose step computes what that of {part.op} does"
        if part.coupled:
            shown = printable(part.name, 80)
            yield f"{shown} states input_forget: its forget gate is 1 - its input gate, and its weights are not used"
    chosen = [weights[part.name] for level in stack.levels for part in level.parts]
    values = [value for each in chosen for value in each.values.values()]
    stored = {contents.tensors[leaf].dtype for value in values for leaf in value.leaves if leaf in contents.tensors}
    if "bfloat16" in stored:
        yield "weights are stored as bfloat16 and read as the float32 of equal value"
    if len(stored) > 1:
        yield f"weights are stored in several dtypes: {', '.join(sorted(stored))}"
    if any(value.rounded for value in values):
        yield "weights are computed from stored constants, as quantised ones are: they are compared as computed"

"""The graph of an ONNX model: which operation reads which (onnx/onnx.proto, IR versions 1 to 13, onnx 1.0 to 1.23).

    ModelProto      ir_version = 1, producer_name = 2, producer_version = 3, graph = 7, opset_import = 8, functions = 25
    GraphProto      node = 1, initializer = 5, input = 11, output = 12, sparse_initializer = 15
    NodeProto       input = 1, output = 2, name = 3, op_type = 4, attribute = 5, domain = 7
    AttributeProto  name = 1, f = 2, i = 3, s = 4, t = 5, g = 6, floats = 7, ints = 8, strings = 9, graphs = 11
    FunctionProto   name = 1, node = 7
    ValueInfoProto  name = 1, type = 2: TypeProto, tensor_type = 1 (elem_type = 1, shape = 2: dim = 1, dim_value = 1)

Nothing is executed. Branches of If that hold recurrent operations are laid out behind the main graph: what scripted
modules of PyTorch become. `body_of` lays out what a Loop or Scan repeats; of other bodies, and of those of functions,
`hidden` says what recurrent operations lie in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from rnnverify.containers.contents import StoredTensor
from rnnverify.containers.onnx_tensors import floats, integers, stored_tensor
from rnnverify.containers.protobuf import MalformedError, Message, parse
from rnnverify.containers.raw_span import read_span
from rnnverify.errors import FileError

RECURRENT = ("RNN", "GRU", "LSTM")
_MOST_NODES = 500_000
_MOST_BYTES = 1 << 31
_DEEPEST = 8  # graphs inside graphs
_OWN_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. `inputs` and `outputs` are names of tensors, empty where an optional one is left out."""

    index: int  # its place in the graph, behind which the bodies lie in their order
    op: str
    name: str
    domain: str  # empty for ONNX's own operators
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Message] = field(default_factory=dict)  # AttributeProto by name
    within: str = ""  # the branch that it stands in, such as "then_branch of If If_0"; empty in the main graph

    def input(self, k: int) -> str:
        """The name of input `k`; empty where it is left out."""
        return self.inputs[k] if k < len(self.inputs) else ""

    def output(self, k: int) -> str:
        """The name of output `k`; empty where it is left out."""
        return self.outputs[k] if k < len(self.outputs) else ""

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer. Raises `MalformedError`, as all of these do."""
        return self.attributes[name].number(3) if name in self.attributes else default

    def real(self, name: str, default: float) -> float:
        """An attribute that is a float32."""
        bits = self.attributes[name].numbers.get(2, [0]) if name in self.attributes else None
        return default if bits is None else float(np.array(bits[-1], np.uint32).view(np.float32))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a text."""
        return self.attributes[name].text(4) if name in self.attributes else default

    def integers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers; None where it is not there."""
        return integers(self.attributes[name], 8) if name in self.attributes else None

    def reals(self, name: str) -> list[float]:
        """An attribute that is a list of float32; empty where it is not there."""
        return floats(self.attributes[name], 7) if name in self.attributes else []

    def texts(self, name: str) -> list[str]:
        """An attribute that is a list of texts; empty where it is not there."""
        chunks = self.attributes[name].chunks.get(9, []) if name in self.attributes else []
        return [bytes(chunk).decode("utf-8", "replace") for chunk in chunks]

    def tensor(self, name: str) -> Message | None:
        """An attribute that is a tensor; None where it is not there."""
        found = self.attributes.get(name)
        return found.message(5) if found is not None and found.chunks.get(5) else None


@dataclass(frozen=True)
class OnnxGraph:
    """The main graph of a model, and behind it the branches that hold recurrent operations."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, StoredTensor]  # initializers, and what Constant nodes give, by the name of the tensor
    inputs: Mapping[str, tuple[int, ...]]  # what is fed when the model runs: shapes, -1 for a size that is not fixed
    outputs: tuple[str, ...]
    opset: int
    ir_version: int = 0  # 0: of a body, which has none
    hidden: tuple[tuple[str, str], ...] = ()  # (operation, where it lies): recurrent ones in bodies that are not read
    sparse: frozenset[str] = frozenset()  # names of sparse initializers
    bodies: tuple[tuple[int, str], ...] = ()  # the branches, in the order of their nodes: index of the If, attribute

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that gives a tensor, by the tensor's name."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def readers(self) -> Mapping[str, list[Node]]:
        """The nodes that read a tensor, by the tensor's name."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found


def is_onnx(start: bytes) -> bool:
    """Whether a file that begins with `start` is a ModelProto: an IR version, then a producer, a graph or an opset."""
    try:
        message = parse(start, cut=True)
        if not message.numbers.get(1) or not 0 < message.number(1) < 1000:
            return False
        producer = message.text(2)
    except MalformedError:
        return False
    return bool({7, 8} & set(message.chunks)) or (0 < len(producer) < 100 and producer.isprintable())


def read_graph(path: Path) -> tuple[OnnxGraph, str]:
    """The graph of the model at `path`, and who wrote it. Raises `FileError`."""
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise MalformedError("it has more than 2 GiB, which no protocol buffer may have")
        return parse_graph(path, read_span(path, 0, size).data)
    except MalformedError as error:
        found = f"a damaged or truncated ONNX model: {error}"
        raise FileError(path, found, "copy or write it again") from error


def parse_graph(path: Path, data: memoryview | bytes) -> tuple[OnnxGraph, str]:
    """The same of a model's bytes; `path` is where they come from. Raises `MalformedError`."""
    model = parse(data)
    if not model.chunks.get(7):
        raise MalformedError("it has no graph")
    return _graph(path, model), " ".join(text for text in (model.text(2), model.text(3)) if text)


def body_of(path: Path, node: Node, opset: int) -> OnnxGraph:
    """The graph that a Loop or Scan of the model at `path` repeats; it may read tensors of the graph around it.

    Raises `MalformedError`.
    """
    if "body" not in node.attributes:
        raise MalformedError(f"a {node.op} has no body")
    body = node.attributes["body"].message(6)
    return _laid_out(path, _nodes(body), [body], opset)


def _graph(path: Path, model: Message) -> OnnxGraph:
    opsets = {m.text(1): m.number(2) for m in model.messages(8)}
    opset = max((opsets.get(domain, 0) for domain in _OWN_DOMAINS), default=0) or 1
    nodes, bodies, messages = _unfolded(model.message(7))
    graph = _laid_out(path, nodes, messages, opset)
    hidden = tuple(_hidden(model, nodes, bodies))
    return replace(graph, ir_version=model.number(1), hidden=hidden, bodies=tuple(bodies))


def _laid_out(path: Path, nodes: list[Node], messages: list[Message], opset: int) -> OnnxGraph:
    """The graph of the first of `messages`, each a GraphProto, with the constants of all."""
    graph = messages[0]
    constants = {t.name: t for each in messages for t in (stored_tensor(path, m) for m in each.messages(5))}
    for node in nodes:
        value = node.tensor("value") if node.op == "Constant" and not node.domain else None
        if value is not None and node.output(0):
            constants[node.output(0)] = stored_tensor(path, value, node.output(0))
    inputs = {m.text(1): _shape(m) for m in graph.messages(11)}
    return OnnxGraph(
        nodes=tuple(nodes),
        constants=constants,
        inputs={name: shape for name, shape in inputs.items() if name not in constants},
        outputs=tuple(m.text(1) for m in graph.messages(12)),
        opset=opset,
        sparse=frozenset(m.message(1).text(8) for m in graph.messages(15)),
    )


def _unfolded(graph: Message) -> tuple[list[Node], list[tuple[int, str]], list[Message]]:
    """The nodes of `graph` and of the branches behind them, which branches those are, and the GraphProto of all.

    A branch that gives a tensor the name of another, which sibling branches may, stays where it is.
    """
    nodes, messages, bodies = _nodes(graph), [graph], list[tuple[int, str]]()
    taken = {name for node in nodes for name in node.outputs if name}
    for node in nodes:  # which grows: branches inside of branches come in turn
        for attribute in node.attributes if node.op == "If" and not node.domain else ():
            body = node.attributes[attribute].message(6)
            if not any(_inside(body, 1, node.within.count(" in "))):
                continue
            within = f"{attribute} of If {node.name}".rstrip() + (f" in {node.within}" if node.within else "")
            found = _nodes(body, len(nodes), within)
            names = [name for each in found for name in each.outputs if name]
            if not taken & {*names, *(m.text(8) for m in body.messages(5))}:
                taken.update(names)
                nodes += found
                bodies.append((node.index, attribute))
                messages.append(body)
    return nodes, bodies, messages


def _nodes(graph: Message, before: int = 0, within: str = "") -> list[Node]:
    """Those of one GraphProto, `before` of which others have been counted."""
    messages = graph.messages(1)
    if before + len(messages) > _MOST_NODES:
        raise MalformedError(f"it has more than {_MOST_NODES} operations")
    return [_node(before + k, message, within) for k, message in enumerate(messages)]


def _node(index: int, message: Message, within: str = "") -> Node:
    def names(field: int) -> tuple[str, ...]:
        return tuple(bytes(chunk).decode("utf-8", "replace") for chunk in message.chunks.get(field, []))

    op, domain = message.text(4), message.text(7)
    if not op:
        raise MalformedError("a node has no operation")
    attributes = {entry.text(1): entry for entry in message.messages(5)}
    own = "" if domain in _OWN_DOMAINS else domain
    return Node(index, op, message.text(3), own, names(1), names(2), attributes, within)


def _shape(value: Message) -> tuple[int, ...]:
    """The shape that a ValueInfoProto states, -1 for a size that is not fixed; () where it states none."""
    dims = value.message(2).message(1).message(2).messages(1)
    return tuple(dim.number(1) if 1 in dim.numbers else -1 for dim in dims)


def _hidden(model: Message, nodes: list[Node], bodies: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    for node in nodes:
        for name, attribute in node.attributes.items():
            for body in (*attribute.messages(6), *attribute.messages(11)) if (node.index, name) not in bodies else ():
                yield from ((op, f"the body of {node.op} {node.name}".rstrip()) for op in _inside(body, 1, 0))
    for function in model.messages(25):
        yield from ((op, f"the function {function.text(1)}") for op in _inside(function, 7, 0))


def _inside(body: Message, field: int, depth: int) -> Iterator[str]:
    """The recurrent operations among the nodes of a GraphProto or FunctionProto, and in the bodies of those."""
    if depth >= _DEEPEST:
        return
    for node in body.messages(field):
        if node.text(4) in RECURRENT and node.text(7) in _OWN_DOMAINS:
            yield node.text(4)
        for attribute in node.messages(5):
            for inner in (*attribute.messages(6), *attribute.messages(11)):
                yield from _inside(inner, 1, depth + 1)

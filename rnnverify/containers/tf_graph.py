"""The graph of a TensorFlow model: which operation reads which, as a MetaGraphDef, SavedModel or GraphDef has it.

    GraphDef      node = 1, library = 2                      tensorflow/core/framework/graph.proto
    NodeDef       name = 1, op = 2, input = 3, attr = 5      node_def.proto
    FunctionDef   signature = 1, node_def = 3, ret = 4       function.proto
    MetaGraphDef  meta_info_def = 1, graph_def = 2           protobuf/meta_graph.proto
    SavedModel    meta_graphs = 2                            protobuf/saved_model.proto

(TensorFlow 0.12 to 2.21.) Nothing is executed. Loops and calls that lie in functions of the library are laid out
flat: an argument of a loop's body becomes a `Merge` of what enters the loop and what the body hands to the next
round, as in the graphs of TensorFlow before 1.13, so that whoever reads the graph meets one form only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rnnverify.containers.protobuf import MalformedError, Message, parse
from rnnverify.errors import FileError, UnsupportedError, printable

_MOST_NODES = 500_000
_MOST_BYTES = 1 << 31
_DEEPEST = 8  # functions called inside functions
_LOOPS = ("While", "StatelessWhile")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_BRANCHES = ("If", "StatelessIf")
_OP = re.compile(r"[A-Za-z_][A-Za-z0-9_>]{0,199}")
_TEXT = re.compile(rb"\s*(?:#[^\n]*\s*)*(?:node|versions|library|meta_info_def|graph_def|meta_graphs)\s*:?\s*\{")
_COPY = "copy or write it again"


@dataclass(frozen=True)
class Node:
    """One operation. `inputs` are tensors: the name of their node, with `:k` behind it for any output but the first."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, memoryview] = field(default_factory=dict)  # AttrValue by name, not yet parsed

    def attribute(self, name: str) -> Message:
        """An AttrValue: s = 2, i = 3, f = 4, b = 5, type = 6, shape = 7, tensor = 8, func = 10. Raises
        `MalformedError`."""
        return parse(self.attributes.get(name, b""))


Graph = Mapping[str, Node]
"""Every node by its name."""


def producer(graph: Graph, tensor: str) -> Node | None:
    """The node that `tensor` is an output of; None where the graph lacks it. An output of a call has one of its own."""
    return graph.get(tensor) or graph.get(tensor.partition(":")[0])


def is_graph(start: bytes) -> bool:
    """Whether a file that begins with `start` is a GraphDef: its first node has a name and an operation."""
    try:
        node = parse(parse(start, cut=True).chunks.get(1, [b""])[0], cut=True)  # the last one may be cut off
        return bool(node.chunk(1)) and bool(_OP.fullmatch(node.text(2)))
    except MalformedError:
        return False


def refuse_without_weights(path: Path, start: bytes) -> None:
    """Raise `FileError` where the file `path`, which begins with `start`, is a graph that holds no weights."""
    if _TEXT.match(start):
        raise UnsupportedError(path, "is a TensorFlow graph written as text", "write it as a binary .pb")
    try:
        info = parse(parse(start, cut=True).chunk(1), cut=True)
    except MalformedError:
        return
    if info.chunks.get(2) or info.chunks.get(5):  # MetaInfoDef: stripped_op_list = 2, tensorflow_version = 5
        found = "is the graph of a checkpoint and holds no weights"
        raise FileError(path, found, f"give the prefix of the checkpoint: {printable(path.stem)}")


def read_graph(path: Path) -> Graph:
    """The graph of the file `path`: a `.meta`, a `saved_model.pb`, or a frozen `.pb`. Raises `FileError`."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise MalformedError("it has more than 2 GiB, which no protocol buffer may have")
        return _flat(_graph_def(path.read_bytes()))
    except MalformedError as error:
        raise FileError(path, f"a damaged or truncated TensorFlow graph: {error}", _COPY) from error
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "check its permissions") from error


def _graph_def(data: bytes) -> Message:
    message = parse(data)
    if is_graph(data[:512]):
        return message
    if message.numbers.get(1) == [1]:  # a SavedModel, saved_model_schema_version = 1
        message = parse(message.chunks.get(2, [memoryview(b"")])[0])
    return message.message(2)


def _flat(graph_def: Message) -> Graph:
    functions: dict[str, Message] = {}
    for function in graph_def.message(2).messages(1):
        functions[function.message(1).text(1)] = function
    nodes: dict[str, Node] = {}
    flattener = _Flattener(functions, nodes)
    for raw in graph_def.chunks.get(1, []):
        flattener.add(_node(parse(raw)), "", {}, 0)
    return nodes


def _node(message: Message) -> Node:
    name, op = message.text(1), message.text(2)
    if not name or not _OP.fullmatch(op):
        raise MalformedError("a node has no name or no operation")
    inputs = (bytes(chunk).decode("utf-8", "replace") for chunk in message.chunks.get(3, []))
    attributes = {entry.text(1): entry.chunk(2) for entry in message.messages(5)}
    return Node(name, op, tuple(text for text in inputs if not text.startswith("^")), attributes)


@dataclass(frozen=True)
class _Flattener:
    functions: Mapping[str, Message]
    nodes: dict[str, Node]

    def add(self, node: Node, prefix: str, arguments: Mapping[str, str], depth: int) -> None:
        """Lay `node` out, which lies in the function whose nodes carry `prefix` and whose arguments are tensors."""
        inputs = tuple(_tensor(text, prefix, arguments) for text in node.inputs)
        name = prefix + node.name
        if node.op in _LOOPS:
            self._loop(name, node, inputs, depth)
        elif node.op in _CALLS:
            self._call(name, (node,), "f", inputs, depth)
        elif node.op in _BRANCHES:
            self._call(name, (node, node), "then_branch else_branch", inputs[1:], depth)
        else:
            self._put(Node(name, node.op, inputs, node.attributes))

    def _put(self, node: Node) -> None:
        if len(self.nodes) >= _MOST_NODES:
            raise MalformedError(f"it has more than {_MOST_NODES} operations")
        self.nodes[node.name] = node

    def _loop(self, name: str, node: Node, inputs: tuple[str, ...], depth: int) -> None:
        called = node.attribute("body").message(10).text(1)
        entries = [f"{name}/entry_{k}" for k in range(len(inputs))]
        returned = self._body(f"{name}/{called}/", called, entries, depth)
        for k, (entry, given) in enumerate(zip(entries, inputs, strict=True)):
            self._put(Node(entry, "Merge", (given, *returned[k : k + 1])))
        self._hand_out(name, [(entry,) for entry in entries])

    def _call(self, name: str, nodes: tuple[Node, ...], attributes: str, inputs: tuple[str, ...], depth: int) -> None:
        outputs: list[tuple[str, ...]] = []
        for node, attribute in zip(nodes, attributes.split(), strict=True):
            called = node.attribute(attribute).message(10).text(1)
            returned = self._body(f"{name}/{called}/", called, list(inputs), depth)
            outputs = [(*o, r) for o, r in zip(outputs, returned, strict=False)] or [(r,) for r in returned]
        self._hand_out(name, outputs)

    def _hand_out(self, name: str, outputs: list[tuple[str, ...]]) -> None:
        """Output k of a call is the tensor `name:k`: nodes of these names hold what it can be."""
        for k, sources in enumerate(outputs):
            self._put(Node(f"{name}:{k}" if k else name, "Merge", sources))

    def _body(self, prefix: str, called: str, given: list[str], depth: int) -> list[str]:
        """Lay the function `called` out; what it returns. Nothing, where the library does not hold it."""
        function = self.functions.get(called)
        if function is None or depth >= _DEEPEST:
            return []
        signature = function.message(1)
        names = [argument.text(1) for argument in signature.messages(2)]
        arguments = dict(zip(names, given, strict=False))
        for raw in function.chunks.get(3, []):
            self.add(_node(parse(raw)), prefix, arguments, depth + 1)
        returned = {entry.text(1): entry.text(2) for entry in function.messages(4)}
        return [_tensor(returned.get(a.text(1), ""), prefix, arguments) for a in signature.messages(3)]


def _tensor(text: str, prefix: str, arguments: Mapping[str, str]) -> str:
    """The tensor that an input names: `node:1` in a graph; `argument` or `node:output:1` in a function."""
    name, *rest = text.split(":")
    if not rest and name in arguments:
        return arguments[name]
    index = rest[-1] if rest and rest[-1].isdigit() else "0"
    return f"{prefix}{name}" + (f":{index}" if index != "0" else "")

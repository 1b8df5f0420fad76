"""The recurrent nodes of an ONNX graph, one by one: what each is called and states of itself.

A Loop or Scan that computes what one of them does counts as one (`loops`). Operators RNN, GRU and LSTM are those
of onnx/docs/Operators.md and Changelog.md, operator sets 1 to 23. What an attribute states and this version or the
operator itself cannot mean is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rnnverify.adapters.onnx.loops import LoopCell, find_loops
from rnnverify.containers.onnx_graph import RECURRENT, Node, OnnxGraph
from rnnverify.containers.protobuf import MalformedError
from rnnverify.errors import FileError, UnsupportedError, printable

GATE_COUNT = {"RNN": 1, "GRU": 3, "LSTM": 4}
_WAYS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
_COMMON = {"activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout"}
_COMMON |= {"output_sequence"}  # of operator set 1: whether Y is given
_ATTRIBUTES = {"RNN": _COMMON, "GRU": _COMMON | {"linear_before_reset"}, "LSTM": _COMMON | {"input_forget"}}
_OPS = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
_INPUTS = {"RNN": 6, "GRU": 6, "LSTM": 8}
_AGAIN = "the file is damaged or was made for another runtime: export the model again"
_QUANTIZED = {"DynamicQuantizeLSTM", "DynamicQuantizeGRU", "QLSTM"}
_KEPT = (
    "keep a layer one operator, as torch.onnx.export(..., dynamo=False) keeps nn.RNN, and tf2onnx a Keras layer "
    "without unroll=True; or compare a trace of it"
)
_UNROLLED = 8  # activations from which a graph is taken for an unrolled network


@dataclass(frozen=True)
class Part:
    """One recurrent node."""

    node: Node
    name: str  # the node's name, or that of its output where it has none or not for itself
    ways: tuple[bool, ...]  # for each direction, whether it reads the input of the network from its end
    batch_first: bool  # layout = 1
    clip: float  # 0: none
    coupled: bool = False  # input_forget: an LSTM has the forget gate 1 - the input gate
    reset_after: bool = False  # linear_before_reset, of a GRU
    loop: LoopCell | None = None  # what it computes, where it is a Loop or Scan
    turned: bool = False  # it runs forward, and operations before it turn the steps of its input around

    @property
    def op(self) -> str:
        """The operator that it is, or computes what it computes."""
        return _OPS[self.loop.layer.cell] if self.loop else self.node.op

    @property
    def reads(self) -> str:
        """The tensor (T, B, I) that it reads."""
        return self.loop.x if self.loop else self.node.input(0)

    @property
    def gives(self) -> str:
        """Y, the tensor with h of every step; empty where it does not give it."""
        return self.loop.y if self.loop else self.node.output(0)

    @property
    def last(self) -> str:
        """Y_h, h after the last step; empty where it does not give it."""
        return self.finals[0]

    @property
    def initial(self) -> tuple[str, ...]:
        """The tensors that h, and c, start from; empty names where it is told none."""
        return self.loop.initial if self.loop else (self.node.input(5), self.node.input(6))

    @property
    def finals(self) -> tuple[str, ...]:
        """The tensors with h, and c, after the last step; empty names where it does not give them."""
        return self.loop.finals if self.loop else (self.node.output(1), self.node.output(2))

    @property
    def lengths(self) -> tuple[str, ...]:
        """The tensors that tell how long the sequences are."""
        named = self.loop.lengths if self.loop else (self.node.input(4),)
        return tuple(name for name in named if name)


@contextmanager
def intact(path: Path) -> Iterator[None]:
    """Where attributes of the graph at `path` are read: damaged ones are a FileError."""
    try:
        yield
    except MalformedError as error:
        raise FileError(path, f"a damaged ONNX graph: {error}", "copy or write it again") from error


def find_parts(path: Path, graph: OnnxGraph) -> dict[str, Part]:
    """Every recurrent node by its name, in the order of the graph. Raises UnsupportedError where one says
    what its operator does not know."""
    loops = find_loops(path, graph)
    nodes = [node for node in graph.nodes if (node.op in RECURRENT and not node.domain) or node.index in loops]
    counts = Counter(node.name for node in nodes)
    found: dict[str, Part] = {}
    for node in nodes:
        alone = node.name if node.name and counts[node.name] == 1 else ""
        name = alone or next((output for output in node.outputs if output), f"node {node.index}")
        cell = loops.get(node.index)
        found[name] = Part(node, name, (False,), False, 0.0, loop=cell) if cell else _part(path, node, name)
    return found


def _part(path: Path, node: Node, name: str) -> Part:
    shown = printable(name, 80)
    unknown = sorted(set(node.attributes) - _ATTRIBUTES[node.op])
    if unknown:
        raise UnsupportedError(path, f"{shown} states {printable(unknown[0], 40)}, no attribute of {node.op}", _AGAIN)
    if any(node.inputs[_INPUTS[node.op] :]):
        found = f"{shown} has {len(node.inputs)} inputs, where {node.op} has {_INPUTS[node.op]} at most"
        raise UnsupportedError(path, found, _AGAIN)
    direction = node.text("direction", "forward")
    layout, clip = node.integer("layout", 0), node.real("clip", 0.0)
    flags = [node.integer(flag, 0) for flag in ("input_forget", "linear_before_reset")]
    if direction.lower() not in _WAYS:
        found = f"{shown} states the direction {printable(direction, 40)}"
        raise UnsupportedError(path, found, f"known are {', '.join(_WAYS)}")
    if layout not in (0, 1):
        raise UnsupportedError(path, f"{shown} states layout {layout}", "known are 0 and 1")
    if "clip" in node.attributes and not 0 < clip < float("inf"):
        raise UnsupportedError(path, f"{shown} states clip {clip:g}", "wanted a number above 0")
    return Part(node, name, _WAYS[direction.lower()], layout == 1, clip, flags[0] != 0, flags[1] != 0)


def refuse_without(path: Path, graph: OnnxGraph) -> None:
    """Raise UnsupportedError for a graph that has no recurrent node, saying what it has instead."""
    for op, where in graph.hidden[:1]:
        found = f"has its {op} in {printable(where, 80)}, which this version does not read"
        raise UnsupportedError(path, found, "inline it: export the model without control flow or functions")
    kinds = Counter(node.op for node in graph.nodes)
    for op in sorted(_QUANTIZED & set(kinds)):
        raise UnsupportedError(path, f"has {op}, which is quantised while it runs", "compare the model before that")
    if kinds["Scan"] or kinds["Loop"]:
        loop = "Scan" if kinds["Scan"] else "Loop"
        found = f"has no RNN, GRU or LSTM node, but a {loop} over steps written out in other operations than theirs"
        raise UnsupportedError(path, found, "export each recurrent layer as one operator, or compare a trace of it")
    steps, products = kinds["Tanh"] + kinds["Relu"] + kinds["Sigmoid"], kinds["MatMul"] + kinds["Gemm"]
    if steps >= _UNROLLED and products >= _UNROLLED and not kinds["Conv"]:
        found = f"has no RNN, GRU or LSTM node: its steps are written out one by one, {steps} activations in all"
        raise UnsupportedError(path, found, _KEPT)
    if steps and products:
        found = f"has no RNN, GRU or LSTM node: if it is recurrent, its steps are written out ({steps} activations)"
        raise UnsupportedError(path, found, _KEPT)
    listed = ", ".join(printable(op, 40) for op, _ in kinds.most_common(6)) or "none"
    raise UnsupportedError(path, f"has no RNN, GRU or LSTM node; its operations are {listed}", "give a recurrent model")

"""A Loop or Scan of an ONNX graph, laid out: what it carries from step to step, reads at each step, and gives.

    Loop (operator sets 1 to 25)   in M, condition, carried...   body in k, condition, carried...
                                   out carried..., stacked...    body out condition, carried..., stacked...
    Scan (operator sets 9 to 25)   in carried..., sequences...   body in carried..., one step of each sequence...
                                   out carried..., stacked...    body out carried..., stacked...

A Loop reads a sequence by Gather, at the number of the step (tf2onnx writes both so). Steps are axis 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from rnnverify.adapters.onnx.numbers import OPERATIONS
from rnnverify.adapters.onnx.values import NotConstantError, Value, Values
from rnnverify.canonical import Array
from rnnverify.containers.onnx_graph import Node, OnnxGraph, body_of
from rnnverify.containers.protobuf import MalformedError
from rnnverify.errors import RnnverifyError

LOOPS = ("Loop", "Scan")
PASSES = {"Identity", "Cast", "Dropout"}
_MOST_NODES = 256
_MANY = 1 << 20  # more steps than anyone runs, where a graph is told how many there are


class NotReadError(Exception):
    """The body does what is not followed here."""


@dataclass(frozen=True)
class Carried:
    """One tensor that a step hands on to the next."""

    index: int  # its place among those that are carried
    before: str  # its name in the body, as a step finds it
    after: str  # and as the step leaves it
    initial: str  # in the graph around
    final: str  # in the graph around; empty where it is not given


class Body:
    """The body of `node`. Raises NotReadError for one that is laid out in another way."""

    def __init__(self, path: Path, graph: OnnxGraph, node: Node) -> None:
        self.node, self.graph = node, body_of(path, node, graph.opset)
        if len(self.graph.nodes) > _MOST_NODES:
            raise NotReadError
        inner, outer = list(self.graph.inputs), self.graph.outputs
        first, given = (2, node.inputs[2:]) if node.op == "Loop" else (0, node.inputs)
        count = len(given) - (node.integer("num_scan_inputs", 0) if node.op == "Scan" else 0)
        results = outer[1:] if node.op == "Loop" else outer
        if len(inner) != len(given) + first or not 0 < count <= len(results) or self._elsewhere():
            raise NotReadError
        rows = zip(inner[first:], results[:count], given, strict=False)
        self.carried = [Carried(k, *row, node.output(k)) for k, row in enumerate(rows)]
        self.emits = {name: node.output(count + k) for k, name in enumerate(results[count:])}
        self._known = dict[str, Value | None]()
        self._values = Values(path, graph)
        self._fixed = {each.before: each.initial for each in self.carried if self._behind(each.after) == each.before}
        links = (Node(-1, "Identity", "", "", (initial,), (before,)) for before, initial in self._fixed.items())
        whole = replace(
            graph,
            nodes=(*graph.nodes, *self.graph.nodes, *links),
            constants={**graph.constants, **self.graph.constants},
            sparse=graph.sparse | self.graph.sparse,
        )
        self._values = Values(path, whole)
        self.reads = dict(zip(inner[count:], given[count:], strict=True)) if node.op == "Scan" else self._gathered()

    def _elsewhere(self) -> bool:
        """Whether a Scan reads or stacks along another axis than the first, or from its end."""
        names = ("scan_input_axes", "scan_output_axes", "scan_input_directions", "scan_output_directions", "directions")
        return self.node.op == "Scan" and any(any(self.node.integers(name) or ()) for name in names)

    def _gathered(self) -> dict[str, str]:
        """What a step picks from tensors around the loop, by the name that it has in the body."""
        found = {}
        for node in self.graph.nodes:
            data = node.input(0)
            picks = node.op == "Gather" and not node.domain and node.integer("axis", 0) == 0 and data not in self.inside
            if picks and self.counts(node.input(1)) and self.constant(data) is None:
                found[node.output(0)] = data
        return found

    def _behind(self, tensor: str) -> str:
        """As `origin`, before it is known what is constant."""
        for _ in self.graph.nodes:
            node = self.graph.producers.get(tensor)
            if node is None or node.op not in PASSES or node.domain:
                break
            tensor = node.input(0)
        return tensor

    @cached_property
    def inside(self) -> Mapping[str, Node | None]:
        """Every tensor of the body, and the node that gives it; None for what the body is handed."""
        return {**dict.fromkeys(self.graph.inputs), **self.graph.producers}

    def origin(self, tensor: str) -> str:
        """The tensor that `tensor` is, behind operations that hand it on."""
        for _ in self.graph.nodes:
            node = self.graph.producers.get(tensor)
            if node is None or node.domain or not (node.op in PASSES or self._drops_nothing(node)):
                break
            tensor = node.input(0)
        return tensor

    def _drops_nothing(self, node: Node) -> bool:
        """Whether a node multiplies by ones of some shape: what recurrent_dropout is where nobody trains."""
        ones = self.graph.producers.get(node.input(1)) if node.op == "Mul" else None
        value = self.constant(ones.input(0)) if ones and ones.op == "Expand" and not ones.domain else None
        return value is not None and value.array.tolist() in (1, [1])

    def counts(self, tensor: str) -> bool:
        """Whether `tensor` is the number of the step, counted from 0."""
        tensor = self.origin(tensor)
        if self.node.op == "Loop" and tensor == next(iter(self.graph.inputs)):
            return True
        each = next((each for each in self.carried if each.before == tensor), None)
        step = self.graph.producers.get(self.origin(each.after)) if each else None
        if each is None or step is None or step.op != "Add" or step.domain:
            return False
        others = [name for name in step.inputs if self.origin(name) != each.before]
        values = [self.constant(name) for name in (*others, each.initial)]
        return len(others) == 1 and [None if v is None else v.array.tolist() for v in values] in ([1, 0], [[1], [0]])

    @property
    def lengths(self) -> list[str]:
        """What the body reads of the graph around and the file decides nothing of: how long sequences are."""
        read = dict.fromkeys(name for node in self.graph.nodes for name in node.inputs if name)
        outside = [name for name in read if name not in self.inside and name not in self.reads.values()]
        return [name for name in outside if self.constant(name) is None and not self._values.zeros(name)]

    @property
    def states(self) -> list[Carried]:
        """What is carried and changes, other than the number of the step."""
        return [each for each in self.carried if each.before not in self._fixed and not self.counts(each.before)]

    def constant(self, tensor: str) -> Value | None:
        """What the file says that `tensor` always is, in the body or around it; None where it decides nothing."""
        if tensor not in self._known:
            try:
                self._known[tensor] = self._values.value(tensor) if tensor else None
            except (NotConstantError, RnnverifyError):
                self._known[tensor] = None
        return self._known[tensor]

    def evaluate(self, wanted: str, known: dict[str, Array], *, running: bool = True) -> Array:
        """`wanted` in float64, where the tensors in `known` are these; what else is computed is added to it.

        What tells how long sequences are says that this step belongs to them, or not where it is not `running`.
        Raises NotReadError.
        """
        if wanted in known:
            return known[wanted]
        found = self.constant(wanted)
        node = self.graph.producers.get(wanted)
        if found is not None:
            array = found.array
            made = array.astype(np.float64) if array.dtype.kind == "f" else array
        elif wanted in self.reads:  # not as numbers: a mask
            made = np.array(running)
        elif self.counts(wanted):
            made = np.array(0)
        elif wanted in self._fixed or wanted not in self.inside:  # zeros, or how long sequences are
            made = np.zeros(1) if self._values.zeros(wanted) else np.array([_MANY if running else 0])
        elif node is None or node.op not in OPERATIONS or node.domain:
            raise NotReadError
        else:
            inputs = [self.evaluate(name, known, running=running) if name else None for name in node.inputs]
            try:
                with np.errstate(all="ignore"):
                    made = OPERATIONS[node.op](node, inputs, node.outputs.index(wanted))
            except (NotConstantError, MalformedError, ValueError, IndexError, TypeError) as error:
                raise NotReadError from error
        known[wanted] = made
        return made

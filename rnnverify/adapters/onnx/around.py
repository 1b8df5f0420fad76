"""The Gather before the recurrent nodes of an ONNX graph, and the dense layers behind them: Gemm, or MatMul and Add.

The graph says what reads what. Between the recurrent nodes and the first dense layer may stand whatever picks steps or
brings axes into order; what the dense layers are applied to here are the outputs of every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.adapters.onnx.parts import Part
from rnnverify.adapters.onnx.ranks import Ranks
from rnnverify.adapters.onnx.stack import Level, Stack
from rnnverify.adapters.onnx.values import NotConstantError, Values
from rnnverify.adapters.surroundings import Names, Surroundings, surroundings
from rnnverify.canonical import Array
from rnnverify.containers.contents import StoredTensor
from rnnverify.containers.onnx_graph import Node, OnnxGraph

_MOVES = {"Identity", "Cast", "Dropout", "Transpose", "Squeeze", "Unsqueeze", "Reshape", "Slice", "Gather", "Split"}
_MOVES |= {"ReverseSequence", "ReverseV2"}
_JOINS = {"Concat"}  # of the two directions
_BEFORE = {"Identity", "Cast", "Dropout", "Transpose", "Squeeze", "ReverseSequence", "ReverseV2"}
_ACTIVATIONS = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Exp": "exponential",
}
_PARTS = {"Mul", "Div", "Neg", "Pow", "Erf", "Clip", "Min", "Max", "HardSwish", "Gelu", "Mish", "Celu"}
_PARTS_OF_SEVERAL = {*_PARTS, "Sigmoid", "Tanh", "Softplus"}
"""Operations that converters make other activations of: of such a dense layer it does not show which one it has."""
_FARTHEST = 64  # operations of one walk


@dataclass(frozen=True)
class _Dense:
    """A dense layer as nodes of the graph: what the last of them gives, how many axes that has, and its names."""

    output: str
    names: Names
    rank: int | None  # None: not known


def find(graph: OnnxGraph, stack: Stack, values: Values, sizes: tuple[int, int]) -> Surroundings:
    """What stands around `stack`, whose input and output sizes are `sizes`."""
    finder = _Finder(graph, values)
    embedding = finder.embedding(stack.levels[0].parts)
    dense = list(finder.dense(stack.levels[-1]))
    return surroundings(finder.tensors, embedding, dense, *sizes)


class _Finder:
    """Walks from the recurrent nodes back and forth; `tensors` has the weights that it met."""

    def __init__(self, graph: OnnxGraph, values: Values) -> None:
        self._graph, self._values, self._ranks = graph, values, Ranks(graph, values)
        self.tensors: dict[str, StoredTensor] = {}

    def embedding(self, parts: Sequence[Part]) -> Names | None:
        tensors = {part.reads for part in parts}
        tensor = tensors.pop() if len(tensors) == 1 else ""
        for _ in range(_FARTHEST):
            node = self._graph.producers.get(tensor)
            if node is None or node.domain:
                return None
            if node.op == "Gather":
                name = self._weight(node.input(0)) if node.integer("axis", 0) == 0 else ""
                return Names(_shown(node), name) if name else None
            if node.op not in _BEFORE:
                return None
            tensor = node.input(0)
        return None

    def dense(self, level: Level) -> Iterator[Names]:
        """One layer after another behind `level`, as far as nothing else reads what is between them."""
        starts: dict[str, int | None] = {level.merged: len(level.axes)} if level.merged else {}
        alone = level.parts if not level.merged or level.merge == "concat" else ()
        for part in alone:  # Y (T, D, B, H) and Y_h (D, B, H); of a loop without D
            ranks = {part.gives: 4 - (part.loop is not None), part.last: 3 - (part.loop is not None)}
            starts |= {name: rank for name, rank in ranks.items() if name}
        found = self._next(starts)
        while found is not None:
            activated = self._activated(found)
            if activated is found and self._may_be_activated(found):
                return
            yield activated.names
            found = self._next({activated.output: activated.rank})

    def _next(self, starts: Mapping[str, int | None]) -> _Dense | None:
        """The only dense layer that reads one of `starts`, tensors with their ranks, past what moves values about."""
        left, seen, ends = list(starts), dict(starts), []
        while left and len(seen) < _FARTHEST:
            tensor = left.pop()
            for node in self._graph.readers.get(tensor, []):
                if node.op in _MOVES | _JOINS and not node.domain:
                    fresh = [name for name in node.outputs if name and name not in seen]
                    left += fresh
                    seen.update(dict.fromkeys(fresh, self._ranks.behind(node, seen[tensor])))
                elif node.op != "Shape":
                    ends.append((node, seen[tensor]))
        nodes = {node.index: (node, rank) for node, rank in ends}
        return self._layer(*next(iter(nodes.values()))) if len(nodes) == 1 else None

    def _layer(self, node: Node, rank: int | None) -> _Dense | None:
        if node.domain:
            return None
        if node.op == "Gemm":
            plain = node.real("alpha", 1.0) == 1 and node.real("beta", 1.0) == 1 and not node.integer("transA", 0)
            kernel, bias = self._weight(node.input(1)), self._weight(node.input(2))
            if not plain or not kernel or (node.input(2) and not bias):
                return None
            names = Names(_shown(node), kernel, bias, transposed=bool(node.integer("transB", 0)))
            return _Dense(node.output(0), names, 2)
        if node.op != "MatMul":
            return None
        kernel = self._weight(node.input(1))
        if not kernel:
            return None
        product, rank = self._reshaped(node.output(0), rank)
        readers = self._graph.readers.get(product, [])
        if len(readers) == 1 and readers[0].op == "Add" and not readers[0].domain:
            (other,) = [name for name in readers[0].inputs if name != product] or [""]
            bias = self._weight(other)
            if bias:
                return _Dense(readers[0].output(0), Names(_shown(node), kernel, bias), rank)
        return _Dense(product, Names(_shown(node), kernel), rank)

    def _reshaped(self, product: str, rank: int | None) -> tuple[str, int | None]:
        """Past the Reshape by which tf.tensordot gives a product (B T, O) the axes (B, T, O) again."""
        readers = self._graph.readers.get(product, [])
        if len(readers) != 1 or readers[0].op != "Reshape" or readers[0].domain:
            return product, rank
        return readers[0].output(0), self._ranks.behind(readers[0], rank)

    def _activated(self, dense: _Dense) -> _Dense:
        """With the activation behind it, where one reads it and nothing else does."""
        readers = self._graph.readers.get(dense.output, [])
        if len(readers) != 1 or readers[0].domain or dense.output in self._graph.outputs:
            return dense
        name = self._activation(readers[0], dense.rank)
        return (
            replace(dense, output=readers[0].output(0), names=replace(dense.names, activation=name)) if name else dense
        )

    def _may_be_activated(self, dense: _Dense) -> bool:
        """Whether operations follow that may be an activation which is not read here."""
        ops = [node.op for node in self._graph.readers.get(dense.output, [])]
        return any(op in (_PARTS if len(ops) == 1 else _PARTS_OF_SEVERAL) for op in ops)

    def _activation(self, node: Node, rank: int | None) -> str:
        if node.op == "Softmax":
            axis = node.integer("axis", -1 if self._graph.opset >= 13 else 1)
            return "softmax" if axis == -1 or (rank is not None and axis == rank - 1) else ""
        if node.op == "HardSigmoid" and node.real("beta", 0.5) == 0.5:
            alphas = {np.float32(0.2): "keras2_hard_sigmoid", np.float32(1 / 6): "hard_sigmoid"}
            return alphas.get(np.float32(node.real("alpha", 0.2)), "")
        if node.op == "Elu" and node.real("alpha", 1.0) == 1:
            return "elu"
        if node.op == "Selu" and not {"alpha", "gamma"} & set(node.attributes):
            return "selu"
        return _ACTIVATIONS.get(node.op, "")

    def _weight(self, tensor: str) -> str:
        """The name of a stored tensor, kept as it is used; empty where the file does not decide it alone."""
        try:
            value = self._values.value(tensor) if tensor else None
        except NotConstantError:
            return ""
        if value is None or len(value.leaves) != 1:
            return ""
        array: Array = value.array
        self.tensors[value.leaves[0]] = StoredTensor(value.leaves[0], array.shape, str(array.dtype), lambda: array)
        return value.leaves[0]


def _shown(node: Node) -> str:
    return node.name or node.output(0)

"""GRU and LSTM cells of Keras in a frozen graph of TensorFlow 2, whose constants have names that say nothing.

`convert_variables_to_constants_v2` calls a constant after the operation that reads it: `gru/Read_2/ReadVariableOp/
resource`, `lstm/lstm_cell/MatMul_1/ReadVariableOp/resource`. So cells are proposed by shapes and by what meets in one
step, and only those are taken whose formula the graph proves to compute (`keras`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

from rnnverify.adapters.graph.keras import ENDS, Shapes, find_keras, products_with
from rnnverify.adapters.graph.parts import whole_of
from rnnverify.adapters.graph.recurrence import Recurrence
from rnnverify.adapters.graph.values import weights_of
from rnnverify.adapters.graph.walk import Bounded, Readers
from rnnverify.adapters.tensorflow.names import Cell
from rnnverify.canonical import GATES
from rnnverify.containers.tf_graph import Graph

_KINDS = {len(GATES["gru"]): "keras_gru", len(GATES["lstm"]): "keras_lstm"}
_MOST = 64  # proposals; a stack has a few for each layer


def find_unnamed(graph: Graph, shapes: Shapes, named: Collection[str]) -> Iterator[tuple[Cell, set[Recurrence]]]:
    """Cells, and the ways in which the graph computes them, of the weights of these `shapes` but for those that are
    `named`. Raises `TangledError` where that would take too long."""
    taken = set(named)
    for cell in islice(_proposals(Bounded(graph), shapes, taken), _MOST):
        names = {name for group in cell.variables.values() for name in group}
        if names & taken:
            continue
        for ways in find_keras(graph, [cell], shapes).values():
            if all(way.activation for way in ways):
                taken |= names
                yield cell, ways


def _proposals(graph: Graph, shapes: Shapes, taken: Collection[str]) -> Iterator[Cell]:
    """Every recurrent kernel with every kernel and every bias that may go with it, in one step of the graph."""
    readers = Readers(graph)
    products = products_with(graph)
    after: Mapping[str, set[str]] = {
        name: set[str]().union(*(readers.after(node, lambda n: n.op in ENDS) for node in nodes))
        for name, nodes in products.items()
    }
    for recurrent in products:
        shape = shapes.get(recurrent, ())
        kind = _KINDS.get(shape[1] // shape[0]) if len(shape) == 2 and shape[0] and not shape[1] % shape[0] else None
        if kind is None or recurrent in taken:
            continue
        for kernel in products:
            own = shapes.get(kernel, ())
            if kernel == recurrent or kernel in taken or len(own) != 2 or own[1] != shape[1]:
                continue
            inside = after[kernel] | after[recurrent]
            if not after[kernel] & after[recurrent]:
                continue
            variables = {"kernel": [kernel], "recurrent_kernel": [recurrent]}
            for bias in [*_biases(graph, shapes, inside, shape[1]), ""]:
                held = {**variables, "bias": [bias]} if bias else variables
                yield Cell("", "", kind=kind, by_graph=True, variables=held)


def _biases(graph: Graph, shapes: Shapes, inside: Collection[str], columns: int) -> list[str]:
    """The weights that operations `inside` a step read and that may be a bias of so many columns."""
    tensors = dict.fromkeys(whole_of(graph, tensor) for name in inside for tensor in graph[name].inputs)
    names = dict.fromkeys(name for tensor in tensors for name in weights_of(graph, tensor))
    return [name for name in names if shapes.get(name) in ((columns,), (2, columns))]

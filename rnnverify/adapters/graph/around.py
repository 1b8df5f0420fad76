"""The dense layers behind the recurrent part of a TensorFlow graph, and the embedding before it: what reads what.

Between the states and a product with a weight may stand whatever picks steps or brings axes into order, as before
`tf.matmul` and in `tf.tensordot`; between an embedding and the first cell likewise. Anything else ends the walk.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rnnverify.adapters.graph.dropout import before_dropout, dropped
from rnnverify.adapters.graph.recurrence import Recurrence
from rnnverify.adapters.graph.time import WRITES
from rnnverify.adapters.graph.walk import PASSES, Bounded, Readers, origin, origins, stored
from rnnverify.adapters.surroundings import Names
from rnnverify.adapters.tensorflow.names import layer_name
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant
from rnnverify.containers.tf_graph import Graph, Node, producer

_PICKS = {"Slice", "StridedSlice", "Gather", "GatherV2", "GatherNd", "Split", "SplitV", "Unpack"}
_SHAPES = {"Squeeze", "ExpandDims", "Cast", "Pack", "Concat", "ConcatV2", "Reverse", "ReverseV2", "ReverseSequence"}
_MOVES = WRITES | _PICKS | _SHAPES
_PRODUCTS = {"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"}
_SUMS = {"BiasAdd", "Add", "AddV2"}
_ACTIVATIONS = {op: op.lower() for op in ("Relu", "Relu6", "Tanh", "Sigmoid", "Softmax", "Softplus", "Softsign", "Elu")}
_ACTIVATIONS |= {"Selu": "selu"}
_DECIDE = {"ArgMax", "TopK", "TopKV2", "InTopK", "InTopKV2", "Shape", "ShapeN", "Size", "Rank"}
_DECIDE |= {"HistogramSummary", "ScalarSummary", "Print", "PrintV2", "Assert"}
"""What reads outputs and changes none of them."""

_BACK = {  # input that an embedding may lie behind
    **dict.fromkeys(PASSES | {"Transpose", "Reshape", "Squeeze", "ExpandDims", "Unpack", "SplitV", "Pack"}, 0),
    **dict.fromkeys(("TensorArrayRead", "TensorArrayReadV2", "TensorArrayReadV3"), 2),
    **dict.fromkeys(("TensorArrayScatter", "TensorArrayScatterV2", "TensorArrayScatterV3"), 2),
    **dict.fromkeys(("TensorArrayUnpack", "Split"), 1),
    **dict.fromkeys(("TensorListGetItem", "TensorListFromTensor"), 0),
    **dict.fromkeys(("Reverse", "ReverseV2", "ReverseSequence"), 0),
}
_LOOKUPS = {"Gather", "GatherV2", "ResourceGather"}
_MOST_LAYERS = 8
_FARTHEST = 200


@dataclass(frozen=True)
class Found:
    """What the graph shows. Where several dense layers read the same outputs, none of them is taken."""

    embedding: Names | None
    dense: tuple[Names, ...]


_Layers = dict[tuple[str, str], tuple[Names, tuple[Node, ...]]]
"""By kernel and bias: a dense layer, and the nodes that hold what it gives, one a step in an unrolled graph."""


def find_around(
    graph: Graph, first: Sequence[Recurrence], last: Sequence[Recurrence], recurrent: Collection[str]
) -> Found:
    """What stands before the `first` cells and behind the `last` ones, whose layers have the variables `recurrent`.

    Raises `TangledError` where that would take too long.
    """
    graph = Bounded(graph)
    readers = Readers(graph)
    joined = {name for cell in last for name, _, _ in cell.joins} if len(last) > 1 else set()
    ends = [node for cell in last for name in sorted(cell.states) if (node := producer(graph, name))]
    dense: list[Names] = []
    taken = set(recurrent)
    while len(dense) < _MOST_LAYERS:
        found = _layers(graph, readers, ends, joined, taken)
        if not found:
            break
        if len(found) > 1:
            return Found(_embedding(graph, first), ())
        ((names, outputs),) = found.values()
        dense.append(names)
        taken.add(names.kernel)
        ends, joined = list(outputs), set()
    return Found(_embedding(graph, first), tuple(dense))


def _layers(
    graph: Graph, readers: Readers, starts: Sequence[Node], joined: Collection[str], taken: Collection[str]
) -> _Layers:
    """The dense layers that read `starts`, or what `joined` nodes make of them."""
    found: _Layers = {}
    for start in starts:
        for node, k in _reached(graph, readers, start, joined):
            kernel, turned = _kernel(graph, node) if node.op in _PRODUCTS and k == 0 else ("", False)
            if not kernel or kernel in taken:
                continue
            total, bias = _biased(graph, readers, node)
            activation, stated, outputs = _activation(graph, readers, total)
            _, others = found.get((kernel, bias), (None, ()))
            found[kernel, bias] = (
                Names(layer_name(kernel), kernel, bias, turned, activation, stated),
                (*others, *outputs),
            )
    return found


def _reached(graph: Graph, readers: Readers, start: Node, joined: Collection[str]) -> Iterator[tuple[Node, int]]:
    """Whoever reads what `start` gives, moved about but otherwise unchanged, and through which input."""
    seen, left = {start.name}, [start]
    while left:
        for node, k, _ in readers.beyond(left.pop(), _MOVES):
            yield node, k
            onward = [node] if node.name in joined else list(dropped(graph, readers, node, k))
            left += [each for each in onward if each.name not in seen]
            seen.update(each.name for each in onward)


def _kernel(graph: Graph, node: Node) -> tuple[str, bool]:
    """The variable that a product is with, and whether it is taken as (O, F); no name where it is with something else,
    or turns what it multiplies."""
    try:
        first, second = (
            any(node.attribute(name).number(5) for name in names)
            for names in (("transpose_a", "adj_x"), ("transpose_b", "adj_y"))
        )
    except MalformedError:
        return "", False
    tensor = node.inputs[1]
    for _ in range(3):  # tf.tensordot may transpose by (0, 1), and reshape to the shape that is there
        source = origin(graph, tensor)
        if source is None or source.op not in ("Reshape", "Transpose"):
            break
        if source.op == "Transpose" and not _keeps_order(graph, source):
            return "", False
        tensor = source.inputs[0]
    weight = stored(graph, tensor)
    return (weight.name if weight and not first else "", second)


def _keeps_order(graph: Graph, node: Node) -> bool:
    order = origin(graph, node.inputs[1])
    try:
        return order is not None and order.op == "Const" and constant(order).tolist() == [0, 1]
    except MalformedError:
        return False


def _biased(graph: Graph, readers: Readers, product: Node) -> tuple[Node, str]:
    """The sum of `product` and a stored vector, and its name; `product` itself where none is added."""
    for node, k, _ in readers.beyond(product, PASSES | {"Reshape"}):
        if node.op in _SUMS and len(node.inputs) == 2:
            bias = stored(graph, node.inputs[1 - k])
            if bias:
                return node, bias.name
    return product, ""


def _activation(graph: Graph, readers: Readers, total: Node) -> tuple[str, bool, tuple[Node, ...]]:
    """The activation of a layer whose sum is `total`, whether the graph leaves no doubt, and what holds its outputs.

    A graph that was made for training computes its loss from the sum, and what it predicts beside that.
    """
    if _feeds_a_layer(graph, readers, total):
        return "linear", True, (total,)
    known: dict[str, list[Node]] = {}
    doubt = False
    for node, _, _ in readers.beyond(total, PASSES | {"Reshape"}):
        if node.op in _ACTIVATIONS:
            known.setdefault(_ACTIVATIONS[node.op], []).append(node)
        elif node.op not in _MOVES | _DECIDE and not _of_gradients(node):
            doubt = True  # a loss, or an activation of several operations
    onward = [name for name, nodes in known.items() if any(_feeds_a_layer(graph, readers, node) for node in nodes)]
    if len(onward) == 1 or (len(known) == 1 and not doubt):
        name = (onward or list(known))[0]
        return name, True, tuple(known[name])
    return "linear", not doubt and not known, (total,)


def _feeds_a_layer(graph: Graph, readers: Readers, node: Node) -> bool:
    """Whether a product reads what `node` gives."""
    reached = _reached(graph, readers, node, ())
    return any(other.op in _PRODUCTS and k == 0 and not _of_gradients(other) for other, k in reached)


def _of_gradients(node: Node) -> bool:
    """tf.gradients puts whatever it adds into a scope of that name."""
    return any(word.startswith("gradients") for word in node.name.split("/"))


def _embedding(graph: Graph, first: Sequence[Recurrence]) -> Names | None:
    """The one table whose rows the first cells read, whichever way they come: a dropout may be one of two."""
    tables: set[str] = set()
    left = sorted({tensor for cell in first for tensor in cell.inputs})
    seen = set(left)
    while left and len(seen) < _FARTHEST:
        for source in origins(graph, left.pop()):
            node = producer(graph, source)
            onward = _onward(graph, node) if node is not None else ""
            if onward:
                left += [onward] * (onward not in seen)
                seen.add(onward)
            else:
                tables.add(_table(graph, node))
    name = tables.pop() if len(tables) == 1 and not left else ""
    return Names(layer_name(name), name) if name else None


def _onward(graph: Graph, node: Node) -> str:
    """What `node` moves about, or drops a part of; empty where it does something else."""
    at = _BACK.get(node.op)
    return node.inputs[at] if at is not None and len(node.inputs) > at else before_dropout(graph, node)


def _table(graph: Graph, node: Node | None) -> str:
    """The variable of which `node` picks rows; empty for none."""
    table = stored(graph, node.inputs[0]) if node is not None and node.op in _LOOKUPS else None
    return table.name if node is not None and table is not None and _first_axis(graph, node) else ""


def _first_axis(graph: Graph, node: Node) -> bool:
    """Whether rows are picked: a GatherV2 has its axis as an input."""
    if len(node.inputs) < 3:
        return True
    axis = origin(graph, node.inputs[2])
    try:
        return axis is not None and axis.op == "Const" and int(constant(axis)) == 0
    except (MalformedError, TypeError):
        return False

"""The order in which a recurrence of a TensorFlow graph reads the steps of its input, and hands out its own.

dynamic_rnn puts the input into a TensorArray (or TensorList) and reads element k at step k; a backward direction has a
`ReverseV2` or `ReverseSequence` before the loop and another behind it (tensorflow/python/ops/rnn.py, TensorFlow 0.12
to 2.21). static_rnn unpacks the input, and a backward direction takes the elements from the last to the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnverify.adapters.graph.walk import CHOICES, PASSES, Readers, origins, stored
from rnnverify.canonical import Array, Merge
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_constant import constant
from rnnverify.containers.tf_graph import Graph, Node, producer

_READS = {"TensorArrayRead", "TensorArrayReadV2", "TensorArrayReadV3", "TensorListGetItem"}
_ONWARD = {  # input that holds the steps
    **dict.fromkeys(PASSES | {"Transpose", "Reshape", "Squeeze", "ExpandDims", "Cast", "Pack"}, 0),
    **dict.fromkeys(("Mul", "RealDiv", "Div", "SplitV", "Unpack"), 0),  # a product with the input first is its dropout
    **dict.fromkeys(("TensorArrayRead", "TensorArrayReadV2", "TensorArrayReadV3"), 2),
    **dict.fromkeys(("TensorArrayScatter", "TensorArrayScatterV2", "TensorArrayScatterV3"), 2),
    **dict.fromkeys(("TensorArrayUnpack", "Split"), 1),
    **dict.fromkeys(("TensorListGetItem", "TensorListFromTensor"), 0),
    **dict.fromkeys(("Reverse", "ReverseV2", "ReverseSequence"), 0),
}
WRITES = {
    *PASSES,
    *CHOICES,
    *("TensorArrayWrite", "TensorArrayWriteV2", "TensorArrayWriteV3", "TensorListSetItem", "TensorListStack"),
    *("TensorArrayGather", "TensorArrayGatherV2", "TensorArrayGatherV3", "TensorArrayPack", "Transpose", "Reshape"),
}
MERGES: dict[str, Merge] = {"Concat": "concat", "ConcatV2": "concat", "Add": "sum", "AddV2": "sum", "Mul": "mul"}
"""Operation to the way in which it merges two directions."""

_FARTHEST = 200


@dataclass(frozen=True)
class Input:
    """What lies between the input of a network and one step of it."""

    reverse: bool | None  # None: the steps are picked in a way that is not known
    unrolled: int | None = None  # the step that an unrolled graph takes
    by_index: bool = False  # reversed by counting down, so outputs lie at the steps that they belong to


def trace_input(graph: Graph, tensor: str) -> Input:
    """Follow the input of a step back to where it was reversed, or to where it came from."""
    reverse, unrolled, by_index, at = False, None, False, tensor
    for _ in range(_FARTHEST):
        node = producer(graph, at)
        if node is None or node.op not in _ONWARD or len(node.inputs) <= _ONWARD[node.op]:
            picked = node is not None and node.op in ("StridedSlice", "GatherV2", "Gather", "Slice")
            return Input(None if picked and not _is_table(graph, node) else reverse, unrolled, by_index)
        if node.op in _READS and _counts_down(graph, node.inputs[1]):
            reverse, by_index = not reverse, True
        if node.op in ("Unpack", "Split", "SplitV"):
            unrolled = int(at.partition(":")[2] or 0)
        if node.op.startswith("Reverse"):
            if not _is_time(graph, node):
                return Input(None, unrolled)
            reverse = not reverse
        at = node.inputs[_ONWARD[node.op]]
    return Input(None, unrolled)


def restores_time(readers: Readers, state: Node) -> bool:
    """Whether the outputs of a recurrence are reversed after its loop, as bidirectional_dynamic_rnn does."""
    return any(node.op.startswith("Reverse") and k == 0 for node, k, _ in readers.beyond(state, WRITES))


def joins(readers: Readers, state: Node) -> frozenset[tuple[str, str, int]]:
    """Where the outputs of a recurrence meet other ones: (node, operation, which input)."""
    return frozenset(
        (node.name, node.op, k - (node.op == "Concat"))
        for node, k, _ in readers.beyond(state, WRITES | {"Reverse", "ReverseV2", "ReverseSequence"})
        if node.op in MERGES
    )


def reads_lengths(graph: Graph, choice: Node) -> bool:
    """Whether a choice between the old and the new state depends on lengths that are fed, not on the shape alone."""
    condition = producer(graph, choice.inputs[0])
    for tensor in condition.inputs if condition else ():
        for source in origins(graph, tensor):
            node = producer(graph, source)
            if node is not None and (node.op.startswith(("Placeholder", "Iterator")) or stored(graph, source)):
                return True
    return False


def _is_table(graph: Graph, node: Node | None) -> bool:
    """Whether rows are picked from a variable: an embedding."""
    return node is not None and node.op.startswith("Gather") and stored(graph, node.inputs[0]) is not None


def _counts_down(graph: Graph, index: str) -> bool:
    sources = [producer(graph, tensor) for tensor in origins(graph, index)]
    return any(node is not None and node.op == "Sub" for node in sources)


def _is_time(graph: Graph, node: Node) -> bool:
    """Whether a reversal is along axis 0 or 1, where the steps are; the last of three axes has the features."""
    try:
        if node.op == "ReverseSequence":
            return node.attribute("seq_dim").number(3) in (0, 1)
        axes = producer(graph, node.inputs[1])
        values: Array | None = constant(axes) if axes is not None and axes.op == "Const" else None
    except (MalformedError, IndexError):
        return False
    if values is None:
        return True
    if node.op == "Reverse":  # one truth value for each axis
        return bool(values[:2].any()) and not values[2:].any()
    return bool(((values == 0) | (values == 1) | (values == -2) | (values == -3)).all())

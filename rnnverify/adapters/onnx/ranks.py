"""How many axes a tensor of an ONNX graph has, carried along by what moves values about.

Until operator set 12 a Softmax without an axis works from axis 1 on, so that its meaning depends on that number.
"""

from __future__ import annotations

from rnnverify.adapters.onnx.values import NotConstantError, Values
from rnnverify.containers.onnx_graph import Node, OnnxGraph

_KEEP = {
    "Identity",
    "Cast",
    "Dropout",
    "Transpose",
    "Slice",
    "Split",
    "Concat",
    "MatMul",
    "Add",
    "ReverseSequence",
    "ReverseV2",
}
_FARTHEST = 16  # operations behind the shape that a Reshape reads


class Ranks:
    """Counts axes in one graph."""

    def __init__(self, graph: OnnxGraph, values: Values) -> None:
        self._graph, self._values = graph, values

    def behind(self, node: Node, rank: int | None) -> int | None:
        """The axes of what `node` gives, where it reads `rank` axes first; None where that is not known."""
        if node.op == "Gemm":
            return 2
        if node.op == "Reshape":
            shape = node.integers("shape")
            return len(shape) if shape is not None else self._length(node.input(1), _FARTHEST)
        if rank is None or node.op in _KEEP:
            return rank
        if node.op in ("Squeeze", "Unsqueeze"):
            axes = self._values.integers(node.input(1)) if node.input(1) else node.integers("axes")
            return None if axes is None else rank + len(axes) * (1 if node.op == "Unsqueeze" else -1)
        if node.op == "Gather":
            try:
                return rank - 1 + self._values.value(node.input(1)).array.ndim
            except NotConstantError:
                return None
        return None

    def _length(self, tensor: str, left: int) -> int | None:
        """How many numbers the list `tensor` has, whatever they will be when the model runs."""
        stored = self._graph.constants.get(tensor)
        if stored is not None:
            return stored.shape[0] if len(stored.shape) == 1 else None
        node = self._graph.producers.get(tensor)
        if node is None or node.domain or left == 0:
            return None
        if node.op in ("Identity", "Cast"):
            return self._length(node.input(0), left - 1)
        if node.op == "Concat":
            lengths = [self._length(name, left - 1) for name in node.inputs]
            known = [length for length in lengths if length is not None]
            return sum(known) if len(known) == len(lengths) else None
        if node.op == "Gather":
            return self._length(node.input(1), left - 1)
        if node.op == "Unsqueeze":  # of a single number
            return 1
        found = self._values.integers(tensor)
        return None if found is None else len(found)

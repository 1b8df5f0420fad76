"""Whether a Reshape of an ONNX graph leaves the axes of steps and of sequences as they are.

A port that takes one for the other, by a reshape where a transposition was meant, has the right shape and is wrong.
So a shape counts only where each number of it says which axis it is: 0, the size of an axis of a tensor whose axes are
known, or a fixed size that no other axis has.
"""

from __future__ import annotations

from collections.abc import Mapping

from rnnverify.adapters.onnx.parts import Part
from rnnverify.adapters.onnx.time import PASSES, listed
from rnnverify.adapters.onnx.values import Values
from rnnverify.containers.onnx_graph import Node, OnnxGraph

_FARTHEST = 64  # operations of one walk
_UNKNOWN = "?"  # -1: whatever is left


class Shapes:
    """The axes of what recurrent nodes read, traced back to the inputs of the graph."""

    def __init__(self, graph: OnnxGraph, parts: Mapping[str, Part], values: Values) -> None:
        self._graph, self._values = graph, values
        self._axes: dict[str, str] = {}  # by tensor, of the letters T, B, F
        for part in parts.values():
            self._trace(part)
        found: dict[str, set[int]] = {}
        for name, shape in graph.inputs.items():
            for axis, size in zip(self._axes.get(name, ""), shape, strict=False):
                found.setdefault(axis, set()).add(size)
        self._sizes = {axis: sizes.pop() for axis, sizes in found.items() if len(sizes) == 1}

    def _trace(self, part: Part) -> None:
        tensor, axes = part.reads, "BTF" if part.batch_first else "TBF"
        for _ in range(_FARTHEST):
            self._axes[tensor] = axes
            node = self._graph.producers.get(tensor)
            if node is None or node.domain or node.op not in {*PASSES, "Transpose", "Gather"}:
                return
            if node.op == "Gather":  # rows of an embedding, by tokens
                if node.integer("axis", 0) or axes[-1] != "F":
                    return
                tensor, axes = node.input(1), axes[:-1]
                continue
            if node.op == "Transpose":
                perm = node.integers("perm") or list(range(len(axes)))[::-1]
                if sorted(perm) != list(range(len(axes))):
                    return
                axes = "".join(axes[perm.index(k)] for k in range(len(axes)))
            tensor = node.input(0)

    def keeps(self, node: Node, axes: str, kept: str) -> bool:
        """Whether the Reshape `node`, of a tensor with `axes`, gives the axes `kept` and one for all that are left."""
        shape = self._stated(node, axes)
        if shape is None or len(shape) != len(kept) + 1 or shape.count(_UNKNOWN) > 1:
            return False
        return all(found in (axis, _UNKNOWN) for found, axis in zip(shape, kept, strict=False))

    def _stated(self, node: Node, axes: str) -> list[str] | None:
        """The axis that each number of the shape is; empty where that is not to be seen."""
        fixed = listed(node, 1, "shape", self._values)
        if fixed is not None:
            in_place = axes if not node.integer("allowzero", 0) else ""
            return [in_place[k : k + 1] if size == 0 else self._fixed(size) for k, size in enumerate(fixed)]
        made = self._behind(node.input(1))
        if made is None or made.op != "Concat":
            return None
        stated = []
        for k, piece in enumerate(made.inputs):
            numbers = self._values.integers(piece)
            if numbers is not None and len(numbers) != 1:
                return None
            size = numbers[0] if numbers else None
            stated.append(
                self._size(piece, node.input(0), axes) if size is None else axes[k] if size == 0 else self._fixed(size)
            )
        return stated

    def is_fixed(self, node: Node) -> bool:
        """Whether a Reshape is for one length or one number of sequences only: its model runs no others."""
        fixed = listed(node, 1, "shape", self._values)
        return fixed is not None and any(size > 0 for size in fixed[:-1])

    def _fixed(self, size: int) -> str:
        alike = [axis for axis, known in self._sizes.items() if known == size and axis in "TB"]
        return _UNKNOWN if size == -1 else alike[0] if len(alike) == 1 else ""

    def _size(self, piece: str, tensor: str, axes: str) -> str:
        """The axis of which `piece` is the size; `tensor` has `axes`."""
        node = self._behind(piece)
        if node is None or node.op not in ("Slice", "Gather"):
            return ""
        stated = listed(node, 1, "starts", self._values) if node.op == "Slice" else self._values.integers(node.input(1))
        shape = self._behind(node.input(0))
        if not stated or len(stated) != 1 or shape is None or shape.op != "Shape" or shape.integer("start", 0):
            return ""
        known = axes if shape.input(0) == tensor else self._axes.get(shape.input(0), "")
        return known[stated[0] : stated[0] + 1] if stated[0] >= 0 else ""

    def _behind(self, tensor: str) -> Node | None:
        """The node that gives `tensor`, past those that change no number."""
        for _ in range(_FARTHEST):
            node = self._graph.producers.get(tensor)
            if node is None or node.domain or node.op not in {*PASSES, "Unsqueeze", "Squeeze"}:
                return node if node is not None and not node.domain else None
            tensor = node.input(0)
        return None

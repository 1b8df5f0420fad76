"""How the outputs of recurrent nodes flow into each other: which are the directions of one layer, which a stack.

Y of a node has the axes T (steps), D (directions), B (sequences), F (features of one direction). Exporters bring it
into the form that the next node reads, (T, B, F), by Squeeze, by Transpose and Reshape, or by Concat of two nodes that
run in opposite directions. These few operations are followed; anything else between two nodes means that they are
not one stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rnnverify.adapters.onnx_parts import Part
from rnnverify.adapters.onnx_values import Values
from rnnverify.canonical import Merge
from rnnverify.containers.onnx_graph import Node, OnnxGraph

_PASSES = {"Identity", "Cast", "Dropout"}  # Dropout hands its input on, where nobody trains
_MERGES: dict[str, Merge] = {"Add": "sum", "Mul": "mul", "Sum": "sum"}
_SLICE = ("starts", "ends", "axes", "steps")
_FARTHEST = 64  # operations of one walk


@dataclass(frozen=True)
class Flow:
    """A tensor made of nothing but outputs of recurrent nodes."""

    axes: str  # of the letters T, D, B, F
    blocks: tuple[tuple[str, int], ...]  # the part and direction of each stretch of features, in order
    spread: bool  # whether the blocks lie along D, else along F
    merge: Merge = "concat"  # how the two blocks became one, where they were not put side by side

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.blocks))


class Flows:
    """Follows tensors of one graph back to the recurrent nodes that they come from."""

    def __init__(self, graph: OnnxGraph, parts: dict[str, Part], values: Values) -> None:
        self._graph, self._values = graph, values
        self._sources = {part.node.output(0): part for part in parts.values() if part.node.output(0)}

    def flow(self, tensor: str) -> Flow | None:
        """What `tensor` is made of; None where it is not outputs of recurrent nodes alone."""
        return self._flow(tensor, [_FARTHEST])

    def read_by(self, part: Part) -> Flow | None:
        """What `part` reads, where that is the whole output of recurrent nodes in the axes that it takes."""
        flow = self.flow(part.node.input(0))
        axes = "BTF" if part.batch_first else "TBF"
        return flow if flow and flow.axes == axes and not (flow.spread and len(flow.blocks) > 1) else None

    def origin(self, part: Part) -> str:
        """Words that two parts share where they read the same tensor, brought into form by equal operations."""
        words, tensor = [], part.node.input(0)
        for _ in range(_FARTHEST):
            node = self._graph.producers.get(tensor)
            if node is None or node.domain or node.op not in {*_PASSES, "Transpose", "Squeeze"}:
                break
            if node.op not in _PASSES:
                axes = node.integers("perm") if node.op == "Transpose" else self._axes(node)
                words.append(f"{node.op} {axes}")
            tensor = node.input(0)
        return " ".join([tensor, *words])

    def _flow(self, tensor: str, left: list[int]) -> Flow | None:
        left[0] -= 1
        part = self._sources.get(tensor)
        if part is not None:
            axes = "BTDF" if part.batch_first else "TDBF"
            return Flow(axes, tuple((part.name, d) for d in range(len(part.ways))), spread=True)
        node = self._graph.producers.get(tensor)
        if left[0] < 0 or node is None or node.domain:
            return None
        if node.op in ("Slice", "Split", "Gather"):
            return self._one_direction(node, tensor, left)
        if tensor != node.output(0):
            return None
        if node.op == "Concat":
            return self._concatenated(node, left)
        if node.op in _MERGES and len(node.inputs) == 2:
            return self._merged(node, left)
        if node.op not in {*_PASSES, "Transpose", "Squeeze", "Reshape"}:
            return None
        flow = self._flow(node.input(0), left)
        if flow is None or node.op in _PASSES:
            return flow
        if node.op == "Transpose":
            perm = node.integers("perm") or list(range(len(flow.axes)))[::-1]
            fits = sorted(perm) == list(range(len(flow.axes)))
            return replace(flow, axes="".join(flow.axes[k] for k in perm)) if fits else None
        return self._squeezed(node, flow) if node.op == "Squeeze" else self._reshaped(node, flow)

    def _one_direction(self, node: Node, tensor: str, left: list[int]) -> Flow | None:
        """A stretch of the axis of directions, as converters cut a bidirectional node apart again."""
        flow = self._flow(node.input(0), left)
        at = flow.axes.find("D") if flow else -1
        if flow is None or at < 0 or not flow.spread:
            return None
        if node.op == "Slice":
            starts, ends, axes, steps = (self._listed(node, k, name) for k, name in enumerate(_SLICE, 1))
            if axes not in ([at], [at - len(flow.axes)]) or steps not in (None, [1]) or not starts or not ends:
                return None
            blocks = flow.blocks[starts[0] : ends[0]]
        elif node.op == "Split":
            sizes, k = self._listed(node, 1, "split"), node.outputs.index(tensor)
            axis = node.integer("axis", 0) % len(flow.axes)
            if axis != at or len(node.outputs) != len(flow.blocks) or any(size != 1 for size in sizes or ()):
                return None
            blocks = flow.blocks[k : k + 1]
        else:
            indices, axis = self._values.integers(node.input(1)), node.integer("axis", 0) % len(flow.axes)
            if axis != at or not indices or len(indices) != 1 or not -len(flow.blocks) <= indices[0] < len(flow.blocks):
                return None
            blocks = (flow.blocks[indices[0]],)
            if self._values.value(node.input(1)).array.ndim == 0:
                return replace(flow, axes=flow.axes.replace("D", ""), blocks=blocks, spread=False)
        return replace(flow, blocks=blocks) if blocks else None

    def _squeezed(self, node: Node, flow: Flow) -> Flow | None:
        axes = self._axes(node)
        at = flow.axes.find("D")
        one = at >= 0 and not (flow.spread and len(flow.blocks) > 1)
        if not one or axes not in (None, [at], [at - len(flow.axes)]):
            return None
        return replace(flow, axes=flow.axes.replace("D", ""), spread=False)

    def _reshaped(self, node: Node, flow: Flow) -> Flow | None:
        """(.., D, F) to (.., D F), all axes before it as they were."""
        shape = self._listed(node, 1, "shape")
        kept = flow.axes.removesuffix("DF")
        if shape is None or kept == flow.axes or len(shape) != len(kept) + 1:
            return None
        if any(shape[:-1]):  # 0 leaves an axis as it is; a number may mean another axis than stands there
            return None
        return replace(flow, axes=kept + "F", spread=False)

    def _concatenated(self, node: Node, left: list[int]) -> Flow | None:
        flows = [self._flow(name, left) for name in node.inputs]
        known = [flow for flow in flows if flow is not None and flow.merge == "concat"]
        if not known or len(known) < len(flows) or len({flow.axes for flow in known}) > 1:
            return None
        axes, blocks = known[0].axes, tuple(block for flow in known for block in flow.blocks)
        at = node.integer("axis", 1) % len(axes)
        if axes[at] == "D" and all(flow.spread for flow in known):
            return Flow(axes, blocks, spread=True)
        alone = all(len(flow.blocks) == 1 or not flow.spread for flow in known)
        return Flow(axes, blocks, spread=False) if axes[at] == "F" and alone else None

    def _merged(self, node: Node, left: list[int]) -> Flow | None:
        flows = [self._flow(name, left) for name in node.inputs]
        known = [flow for flow in flows if flow is not None and flow.merge == "concat" and len(flow.blocks) == 1]
        if len(known) < 2 or known[0].axes != known[1].axes or "D" in known[0].axes:
            return None
        return Flow(known[0].axes, known[0].blocks + known[1].blocks, spread=False, merge=_MERGES[node.op])

    def _axes(self, node: Node) -> list[int] | None:
        return self._listed(node, 1, "axes")

    def _listed(self, node: Node, k: int, name: str) -> list[int] | None:
        """What newer operator sets have as input `k`, and older ones as an attribute; None where it is neither."""
        return self._values.integers(node.input(k)) if node.input(k) else node.integers(name)

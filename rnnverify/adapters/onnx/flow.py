"""How the outputs of recurrent nodes flow into each other: which are the directions of one layer, which a stack.

Y of a node has the axes T (steps), D (directions), B (sequences), F (features of one direction); that of a loop, and a
last state, lack some. Exporters bring it into the form that the next node reads, (T, B, F), by Squeeze, by Transpose
and Reshape, or by Concat of two nodes that run in opposite directions, and turn the steps of one that runs backwards
around. These few operations are followed; anything else between two nodes means that they are not one stack.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rnnverify.adapters.onnx.parts import Part
from rnnverify.adapters.onnx.shapes import Shapes
from rnnverify.adapters.onnx.time import PASSES, listed, turned_axis
from rnnverify.adapters.onnx.values import NotConstantError, Values
from rnnverify.canonical import Merge
from rnnverify.containers.onnx_graph import Node, OnnxGraph

_MERGES: dict[str, Merge] = {"Add": "sum", "Mul": "mul", "Sum": "sum"}
_SLICE = ("starts", "ends", "axes", "steps")
_FARTHEST = 64  # operations of one walk
_MANY = 1 << 30  # more steps than anyone runs


@dataclass(frozen=True)
class Block:
    """A stretch of features: h of one direction of one part."""

    part: str
    direction: int = 0
    turned: bool = False  # its steps come in the other order than the part gives them
    last: bool = False  # there is none but the last


@dataclass(frozen=True)
class Flow:
    """A tensor made of nothing but outputs of recurrent nodes."""

    axes: str  # of the letters T, D, B, F
    blocks: tuple[Block, ...]  # each stretch of features, in order
    spread: bool  # whether the blocks lie along D, else along F
    merge: Merge = "concat"  # how the two blocks became one, where they were not put side by side
    fixed: bool = False  # made for one length or one number of sequences only

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(block.part for block in self.blocks))

    def around(self) -> Flow:
        """The same, its steps turned around."""
        return replace(self, blocks=tuple(replace(block, turned=not block.turned) for block in self.blocks))


class Flows:
    """Follows tensors of one graph back to the recurrent nodes that they come from."""

    def __init__(self, graph: OnnxGraph, parts: dict[str, Part], values: Values) -> None:
        self._graph, self._parts, self._values = graph, parts, values
        self._shapes = Shapes(graph, parts, values)
        self._sources = {part.gives: self._source(part, last=False) for part in parts.values() if part.gives}
        self._sources |= {part.last: self._source(part, last=True) for part in parts.values() if part.last}

    def _source(self, part: Part, *, last: bool) -> Flow:
        """Y, or Y_h, of `part`."""
        axes = "TBF" if part.loop else "BTDF" if part.batch_first else "TDBF"
        blocks = tuple(Block(part.name, d, last=last) for d in range(len(part.ways)))
        return Flow(axes.replace("T", "") if last else axes, blocks, spread="D" in axes)

    def flow(self, tensor: str) -> Flow | None:
        """What `tensor` is made of; None where it is not outputs of recurrent nodes alone."""
        return self._flow(tensor, [_FARTHEST])

    def read_by(self, part: Part) -> Flow | None:
        """What `part` reads, where that is the whole output of recurrent nodes in the axes that it takes."""
        flow = self.flow(part.reads)
        flow = flow.around() if flow and part.turned else flow
        axes = "BTF" if part.batch_first else "TBF"
        return flow if flow and flow.axes == axes and not (flow.spread and len(flow.blocks) > 1) else None

    def origin(self, part: Part) -> str:
        """Words that two parts share where they read the same tensor, brought into form by equal operations."""
        words, tensor = [], part.reads
        for _ in range(_FARTHEST):
            node = self._graph.producers.get(tensor)
            around = node is not None and part.turned and turned_axis(node, self._values) is not None
            if node is None or node.domain or not (around or node.op in {*PASSES, "Transpose", "Squeeze"}):
                break
            if node.op not in PASSES and not around:
                axes = node.integers("perm") if node.op == "Transpose" else self._axes(node)
                words.append(f"{node.op} {axes}")
            tensor = node.input(0)
        return " ".join([tensor, *words])

    def _flow(self, tensor: str, left: list[int]) -> Flow | None:
        left[0] -= 1
        source = self._sources.get(tensor)
        if source is not None:
            return source
        node = self._graph.producers.get(tensor)
        if left[0] < 0 or node is None or node.domain:
            return None
        axis = turned_axis(node, self._values)
        if axis is not None:
            flow = self._flow(node.input(0), left)
            return (
                flow.around() if flow and axis in (flow.axes.find("T"), flow.axes.find("T") - len(flow.axes)) else None
            )
        if node.op in ("Slice", "Split", "Gather"):
            return self._cut(node, tensor, left)
        if tensor != node.output(0):
            return None
        if node.op == "Concat":
            return self._concatenated(node, left)
        if node.op in _MERGES and len(node.inputs) == 2:
            return self._merged(node, left) or self._halved(node, left)
        if node.op == "Div":
            return self._halved(node, left)
        if node.op not in {*PASSES, "Transpose", "Squeeze", "Reshape"}:
            return None
        flow = self._flow(node.input(0), left)
        if flow is None or node.op in PASSES:
            return flow
        if node.op == "Transpose":
            perm = node.integers("perm") or list(range(len(flow.axes)))[::-1]
            fits = sorted(perm) == list(range(len(flow.axes)))
            return replace(flow, axes="".join(flow.axes[k] for k in perm)) if fits else None
        return self._squeezed(node, flow) if node.op == "Squeeze" else self._reshaped(node, flow)

    def _cut(self, node: Node, tensor: str, left: list[int]) -> Flow | None:
        """The last step, or a stretch of the axis of directions, as converters cut a bidirectional node apart again."""
        flow = self._flow(node.input(0), left)
        return flow and (self._last_step(node, flow) or self._one_direction(node, tensor, flow))

    def _last_step(self, node: Node, flow: Flow) -> Flow | None:
        """Of what is given in the order of processing: nodes that run forward, between two turns or not."""
        at = flow.axes.find("T")
        ran_forward = all(self._parts[b.part].ways[b.direction] == self._parts[b.part].turned for b in flow.blocks)
        if at < 0 or any(block.turned for block in flow.blocks) or not ran_forward:
            return None
        last = tuple(replace(block, last=True) for block in flow.blocks)
        if node.op == "Slice":
            starts, ends, axes, steps = (self._listed(node, k, name) for k, name in enumerate(_SLICE, 1))
            whole = starts == [-1] and ends and ends[0] >= _MANY and steps in (None, [1])
            return replace(flow, blocks=last) if whole and axes in ([at], [at - len(flow.axes)]) else None
        picks = node.op == "Gather" and node.integer("axis", 0) % len(flow.axes) == at
        one = picks and self._values.integers(node.input(1)) == [-1]
        alone = one and self._values.value(node.input(1)).array.ndim == 0
        return replace(flow, axes=flow.axes.replace("T", ""), blocks=last) if alone else None

    def _one_direction(self, node: Node, tensor: str, flow: Flow) -> Flow | None:
        at = flow.axes.find("D")
        if at < 0 or not flow.spread:
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
        step = flow.axes.find("T")
        if step >= 0 and all(block.last for block in flow.blocks) and axes in ([step], [step - len(flow.axes)]):
            return replace(flow, axes=flow.axes.replace("T", ""))
        at = flow.axes.find("D")
        one = at >= 0 and not (flow.spread and len(flow.blocks) > 1)
        if not one or axes not in (None, [at], [at - len(flow.axes)]):
            return None
        return replace(flow, axes=flow.axes.replace("D", ""), spread=False)

    def _reshaped(self, node: Node, flow: Flow) -> Flow | None:
        """(.., D, F) to (.., D F), all axes before it as they were; of one direction D may be anywhere."""
        one = not (flow.spread and len(flow.blocks) > 1)
        kept = flow.axes.replace("D", "").removesuffix("F") if one else flow.axes.removesuffix("DF")
        if "D" not in flow.axes or "D" in kept or not self._shapes.keeps(node, flow.axes, kept):
            return None
        return replace(flow, axes=kept + "F", spread=False, fixed=flow.fixed or self._shapes.is_fixed(node))

    def _concatenated(self, node: Node, left: list[int]) -> Flow | None:
        flows = [self._flow(name, left) for name in node.inputs]
        known = [flow for flow in flows if flow is not None and flow.merge == "concat"]
        if not known or len(known) < len(flows) or len({flow.axes for flow in known}) > 1:
            return None
        axes, blocks = known[0].axes, tuple(block for flow in known for block in flow.blocks)
        at, fixed = node.integer("axis", 1) % len(axes), any(flow.fixed for flow in known)
        if axes[at] == "D" and all(flow.spread for flow in known):
            return Flow(axes, blocks, spread=True, fixed=fixed)
        alone = all(len(flow.blocks) == 1 or not flow.spread for flow in known)
        return Flow(axes, blocks, spread=False, fixed=fixed) if axes[at] == "F" and alone else None

    def _merged(self, node: Node, left: list[int]) -> Flow | None:
        flows = [self._flow(name, left) for name in node.inputs]
        known = [flow for flow in flows if flow is not None and flow.merge == "concat" and len(flow.blocks) == 1]
        if len(known) < 2 or known[0].axes != known[1].axes or "D" in known[0].axes:
            return None
        one, other = known
        return Flow(one.axes, one.blocks + other.blocks, False, _MERGES[node.op], one.fixed or other.fixed)

    def _halved(self, node: Node, left: list[int]) -> Flow | None:
        """The mean of two directions: their sum by 0.5, or over 2."""
        factor = 0.5 if node.op == "Mul" else 2.0
        if len(node.inputs) != 2:
            return None
        for summed, other in (node.inputs, node.inputs[::-1]) if node.op == "Mul" else (node.inputs,):
            try:
                halves = self._values.value(other).array.ravel().tolist() == [factor]
            except NotConstantError:
                continue
            flow = self._flow(summed, left) if halves else None
            if flow and flow.merge == "sum":
                return replace(flow, merge="ave")
        return None

    def _axes(self, node: Node) -> list[int] | None:
        return self._listed(node, 1, "axes")

    def _listed(self, node: Node, k: int, name: str) -> list[int] | None:
        return listed(node, k, name, self._values)

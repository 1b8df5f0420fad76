"""A step of a gated cell in a TensorFlow graph, computed in NumPy from numbers put in place of its inputs.

What a graph says in many ways - slices, products, operations that are a whole cell - comes out as numbers, which can be
held against a formula (`gates`). Nothing of TensorFlow is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.activation import ELEMENTWISE, is_transposed
from rnnverify.adapters.graph.parts import PARTS, ends_of, part_of, whole_of
from rnnverify.adapters.graph.walk import joined, origin, origins, scalar, stored
from rnnverify.canonical import Array
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_graph import Graph, Node, producer

_MOST_VISITS = 120  # tensors; a step has some forty
WIDEST = 1024  # columns of a tensor: a graph may join a tensor with itself again and again
_sigmoid = ACTIVATIONS["sigmoid"]


class UnknownError(Exception):
    """The step has an operation, or an input, that is not known here."""


Key = frozenset[str]
"""Where a tensor comes from: two tensors with the same origins hold the same numbers."""


def key_of(graph: Graph, tensor: str) -> Key:
    return frozenset(origins(graph, tensor))


def weights_of(graph: Graph, tensor: str) -> tuple[str, ...]:
    """The names of the variables that `tensor` is: one, or several shards of rows; none where it is something else."""
    whole = stored(graph, tensor)
    if whole:
        return (whole.name,)
    node = origin(graph, tensor)
    parts = [stored(graph, part) for part in joined(node)] if node else []
    return tuple(part.name for part in parts if part) if all(parts) else ()


class Step:
    """The tensors of one step, as far as they depend on `inside`; any other one but those given is the cell state."""

    def __init__(
        self,
        graph: Graph,
        inside: Collection[str],  # names of nodes
        given: Mapping[Key, Array],  # (B, n)
        weights: Mapping[str, Array],  # by variable
        cell_state: Array,  # (B, H)
        units: int = 0,  # of the cell in the graph, where slices of so many columns are to be slices of H; 0: unknown
    ) -> None:
        self._graph, self._inside, self._weights, self._cell_state = graph, inside, weights, cell_state
        self._units = units
        self._known = dict(given)
        self._left = _MOST_VISITS
        self.carried: Key | None = None  # where the cell state comes from
        self.constants: set[float] = set()  # that were met
        self.operations: set[str] = set()

    def value(self, tensor: str) -> Array:
        """`tensor` (B, n), or () for a constant. Raises `UnknownError`."""
        key = key_of(self._graph, tensor)
        if key not in self._known:
            self._left -= 1
            if self._left < 0:
                raise UnknownError
            found = self._found(key)
            if found.ndim > 2 or found.size > WIDEST * len(self._cell_state):
                raise UnknownError
            self._known[key] = found
        return self._known[key]

    def _found(self, key: Key) -> Array:
        node = producer(self._graph, at) if len(key) == 1 and (at := next(iter(key))) else None
        if node is None or not (self._of_this_step(node) or self._stored(at)):
            return self._state(key)
        number = scalar(node)
        if number is not None:
            self.constants.add(float(number))
            return number.astype(np.float64)
        if self._stored(at):
            return self._weight(at)
        self.operations.add(node.op)
        if node.op == "MatMul":
            if is_transposed(node):
                raise UnknownError
            return np.asarray(self.value(node.inputs[0]) @ self._weight(node.inputs[1]))
        outputs = self._computed(node)
        index = int(at.partition(":")[2] or 0)
        if index >= len(outputs):
            raise UnknownError
        return outputs[index]

    def _of_this_step(self, node: Node) -> bool:
        """Whether `node` is computed in the step, and not before: what it starts from, it has with weights only."""
        if node.name in self._inside or node.op in ("Const", "MatMul"):
            return True
        starts = [tensor for tensor in node.inputs if key_of(self._graph, tensor) in self._known]
        if joined(node):
            return len(starts) >= len(joined(node))
        return node.op in ("Mul", "Add", "AddV2", "BiasAdd") and any(map(self._stored, node.inputs))

    def _stored(self, tensor: str) -> bool:
        """Whether `tensor` is a weight, or a part of one."""
        return bool(weights_of(self._graph, whole_of(self._graph, tensor)))

    def _state(self, key: Key) -> Array:
        if self.carried is not None:
            raise UnknownError  # a second one
        self.carried = key
        return self._cell_state

    def _weight(self, tensor: str) -> Array:
        """The weight that `tensor` is, or the part of it."""
        node = origin(self._graph, tensor)
        names = weights_of(self._graph, tensor)
        if names and all(name in self._weights for name in names):
            return np.concatenate([self._weights[name] for name in names])
        if node is None or node.op not in PARTS:
            raise UnknownError
        self._left -= 1
        if self._left < 0:
            raise UnknownError
        whole = self._weight(node.inputs[PARTS[node.op]])
        try:
            index = int(origins(self._graph, tensor)[0].partition(":")[2] or 0)
            return part_of(self._graph, node, whole, index, self._units, self._cell_state.shape[1])
        except (LookupError, TypeError, ValueError, ArithmeticError, MalformedError) as error:
            raise UnknownError from error

    def _computed(self, node: Node) -> Sequence[Array]:
        """The outputs of `node`."""
        try:
            if node.op in _WHOLE_CELLS:
                return _WHOLE_CELLS[node.op](self, node)
            if node.op in ("Split", "SplitV"):
                value = self.value(node.inputs[node.op == "Split"])
                return np.split(value, ends_of(self._graph, node, self._units, self._cell_state.shape[1]), axis=-1)
            if node.op == "StridedSlice":
                return (
                    part_of(self._graph, node, self.value(node.inputs[0]), 0, self._units, self._cell_state.shape[1]),
                )
            if 0 < len(joined(node)) <= WIDEST:
                return (np.concatenate([self.value(part) for part in joined(node)], axis=-1),)
            inputs = [self.value(tensor) for tensor in node.inputs]
            with np.errstate(all="ignore"):
                return (np.asarray(_OPERATIONS[node.op](*inputs)),)
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, MalformedError) as error:
            raise UnknownError from error

    def number(self, node: Node, attribute: str, default: float) -> float:
        """A float attribute, AttrValue.f = 4, which lies as 32 bits."""
        if attribute not in node.attributes:
            return default
        bits = node.attribute(attribute).numbers.get(4)
        found = float(np.array(bits[-1], dtype=np.uint32).view(np.float32)) if bits else 0.0
        self.constants.add(found)
        return found

    def lstm_block(self, node: Node) -> Sequence[Array]:
        """LSTMBlockCell: x, cs_prev, h_prev, w, wci, wcf, wco, b to i, cs, f, o, ci, co, h."""
        x, c, h = (self.value(tensor) for tensor in node.inputs[:3])
        w, b = (self.value(node.inputs[k]) for k in (3, 7))
        peephole = bool(node.attribute("use_peephole").number(5))
        looks = [self.value(tensor) for tensor in node.inputs[4:7]] if peephole else [np.zeros(1)] * 3
        v_i, v_g, v_f, v_o = np.split(np.concatenate([x, h], axis=1) @ w + b, 4, axis=1)
        i, g = _sigmoid(v_i + looks[0] * c), np.tanh(v_g)
        f = _sigmoid(v_f + self.number(node, "forget_bias", 1.0) + looks[1] * c)
        clip = self.number(node, "cell_clip", 3.0)
        c = i * g + f * c
        c = np.clip(c, -clip, clip) if clip > 0 else c
        o = _sigmoid(v_o + looks[2] * c)
        return i, c, f, o, g, np.tanh(c), o * np.tanh(c)

    def gru_block(self, node: Node) -> Sequence[Array]:
        """GRUBlockCell: x, h_prev, w_ru, w_c, b_ru, b_c to r, u, c, h."""
        x, h, w, w_c, b, b_c = (self.value(tensor) for tensor in node.inputs)
        r, u = np.split(_sigmoid(np.concatenate([x, h], axis=1) @ w + b), 2, axis=1)
        n = np.tanh(np.concatenate([x, r * h], axis=1) @ w_c + b_c)
        return r, u, n, u * h + (1 - u) * n


_WHOLE_CELLS: dict[str, Callable[[Step, Node], Sequence[Array]]] = {
    "LSTMBlockCell": Step.lstm_block,
    "GRUBlockCell": Step.gru_block,
}
"""Operations that compute a whole step (tensorflow/core/kernels/rnn/{lstm,gru}_ops.cc)."""

_OPERATIONS: Mapping[str, Callable[..., Array]] = {**ELEMENTWISE, "BiasAdd": np.add}

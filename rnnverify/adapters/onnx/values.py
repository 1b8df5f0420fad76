"""What a tensor of an ONNX graph holds, where its file decides that: constants, and operations on constants alone.

Exporters leave weights behind Identity, Transpose, Reshape, Cast or Slice, and quantised ones behind DequantizeLinear.
These are evaluated as the operators' documentation has them (onnx/docs/Operators.md, opset 23); nothing else is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnverify.canonical import Array
from rnnverify.containers.onnx_graph import Node, OnnxGraph
from rnnverify.containers.onnx_tensors import FLOATS, dtype_name, stored_tensor
from rnnverify.containers.protobuf import MalformedError
from rnnverify.errors import FileError, UnsupportedError, printable

_MOST_VISITS = 256  # operations behind one weight
_MOST_ELEMENTS = 1 << 30  # that an operation may make


class NotConstantError(Exception):
    """The tensor is not decided by the file: `str` of it says what it comes from."""


@dataclass
class Value:
    """A tensor, and what it was made of."""

    array: Array
    leaves: list[str] = field(default_factory=list)  # the stored tensors behind it
    rounded: bool = False  # whether arithmetic was done on them


class Values:
    """Evaluates tensors of one graph."""

    def __init__(self, path: Path, graph: OnnxGraph) -> None:
        self._path, self._graph = path, graph

    def value(self, tensor: str) -> Value:
        """The value of `tensor`. Raises NotConstantError, and FileError or UnsupportedError for damaged or odd data."""
        made = Value(np.zeros(0))
        try:
            made.array = self._evaluate(tensor, made, [_MOST_VISITS])
        except (MalformedError, ValueError, IndexError, TypeError, OverflowError) as error:
            found = f"{printable(tensor)} cannot be computed from the constants that it is made of"
            raise FileError(self._path, found, "the file is damaged: write the model again") from error
        return made

    def integers(self, tensor: str) -> list[int] | None:
        """A constant list of integers, such as a shape; None where the file does not decide it."""
        try:
            return [int(n) for n in np.atleast_1d(self.value(tensor).array).ravel()[:64]]
        except NotConstantError:
            return None

    def zeros(self, tensor: str) -> bool:
        """Whether every element of `tensor` is a constant 0, whatever its shape will be when the model runs."""
        return self._zeros(tensor, [_MOST_VISITS])

    def _zeros(self, tensor: str, left: list[int]) -> bool:
        left[0] -= 1
        node = self._graph.producers.get(tensor)
        if left[0] < 0:
            return False
        if tensor in self._graph.constants:
            return not self.value(tensor).array.any()
        if node is None or node.domain:
            return False
        if node.op == "ConstantOfShape":
            value = node.tensor("value")
            return value is None or not self.value_of(node).any()
        if node.op in _KEEPS_ZEROS:
            return self._zeros(node.input(0), left)
        if node.op == "Concat":
            return all(self._zeros(each, left) for each in node.inputs)
        return False

    def value_of(self, node: Node) -> Array:
        """The tensor attribute `value` of a node."""
        message = node.tensor("value")
        return np.zeros(1, np.float32) if message is None else stored_tensor(self._path, message, node.op).read()

    def _evaluate(self, tensor: str, made: Value, left: list[int]) -> Array:
        left[0] -= 1
        if left[0] < 0:
            raise UnsupportedError(
                self._path, f"{printable(tensor)} is computed by too many operations", "store its weights as constants"
            )
        if tensor in self._graph.sparse:
            raise UnsupportedError(self._path, f"{printable(tensor)} is a sparse tensor", "store it densely")
        stored = self._graph.constants.get(tensor)
        if stored is not None:
            made.leaves.append(stored.name)
            return stored.read()
        node = self._graph.producers.get(tensor)
        if node is None:
            fed = tensor in self._graph.inputs
            raise NotConstantError("an input of the graph" if fed else "in no place of the graph")
        if node.op == "Constant" and not node.domain:
            return _small_constant(node)
        operation = OPERATIONS.get(node.op) if not node.domain else None
        if operation is None:
            raise NotConstantError(f"computed by {printable(node.op, 60)}")
        inputs = [self._evaluate(name, made, left) if name else None for name in node.inputs]
        made.rounded |= node.op in _ROUNDS or (node.op == "Cast" and _narrows(inputs, node))
        with np.errstate(all="ignore"):
            result = operation(node, inputs, node.outputs.index(tensor))
        if result.size > _MOST_ELEMENTS:
            raise UnsupportedError(self._path, f"{printable(tensor)} has {result.size} elements", "store it as it is")
        return result


def _small_constant(node: Node) -> Array:
    """A Constant node that holds numbers in plain attributes."""
    for name, kind in (("value_float", np.float32), ("value_int", np.int64)):
        if name in node.attributes:
            number = node.real(name, 0.0) if kind is np.float32 else node.integer(name, 0)
            return np.array(number, kind)
    ints = node.integers("value_ints")
    if ints is not None:
        return np.array(ints, np.int64)
    if "value_floats" in node.attributes:
        return np.array(node.reals("value_floats"), np.float32)
    raise NotConstantError("a constant of a kind that this version does not read")


def _narrows(inputs: Sequence[Array | None], node: Node) -> bool:
    wanted = dtype_name(node.integer("to", 1))
    return inputs[0] is None or wanted not in FLOATS or inputs[0].dtype.itemsize > _numpy(wanted).itemsize


def _numpy(name: str) -> np.dtype[np.generic]:
    if name == "bfloat16" or name not in _KINDS:
        raise NotConstantError(f"cast to {name}")
    return np.dtype(name)


_KINDS = ("float16", "float32", "float64", "int64", "int32", "int8", "uint8", "bool")

Operation = Callable[[Node, Sequence["Array | None"], int], Array]


def need(inputs: Sequence[Array | None], k: int) -> Array:
    """Input `k` of an operation. Raises ValueError where it is left out."""
    found = inputs[k] if k < len(inputs) else None
    if found is None:
        raise ValueError("an operation lacks an input")
    return found


def _ints(node: Node, inputs: Sequence[Array | None], k: int, name: str) -> list[int] | None:
    """What newer operator sets have as input `k`, and older ones as an attribute."""
    given = inputs[k] if k < len(inputs) else None
    return [int(n) for n in np.atleast_1d(given)] if given is not None else node.integers(name)


def _transpose(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    return np.transpose(need(inputs, 0), node.integers("perm"))


def _reshape(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    array, shape = need(inputs, 0), _ints(node, inputs, 1, "shape") or []
    if not node.integer("allowzero", 0):
        shape = [array.shape[k] if size == 0 else size for k, size in enumerate(shape)]
    return array.reshape(shape)


def _squeeze(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    axes = _ints(node, inputs, 1, "axes")
    return np.squeeze(need(inputs, 0), None if axes is None else tuple(axes))


def _unsqueeze(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    return np.expand_dims(need(inputs, 0), tuple(_ints(node, inputs, 1, "axes") or ()))


def _concat(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    return np.concatenate([need(inputs, k) for k in range(len(inputs))], axis=node.integer("axis", 1))


def _slice(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    array = need(inputs, 0)
    starts, ends = _ints(node, inputs, 1, "starts") or [], _ints(node, inputs, 2, "ends") or []
    axes = _ints(node, inputs, 3, "axes") or list(range(len(starts)))
    steps = _ints(node, inputs, 4, "") or [1] * len(starts)
    window = [slice(None)] * array.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 0 and end < -array.shape[axis]:
            window[axis] = slice(start, None, step)
        else:
            window[axis] = slice(start, end, step)
    return array[tuple(window)]


def _split(node: Node, inputs: Sequence[Array | None], output: int) -> Array:
    array, axis = need(inputs, 0), node.integer("axis", 0)
    sizes = _ints(node, inputs, 1, "split")
    if sizes is None:
        size = -(-array.shape[axis] // len(node.outputs))
        sizes = [size] * len(node.outputs)
    return np.split(array, np.cumsum(sizes)[:-1], axis=axis)[output]


def _gather(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    indices = need(inputs, 1)
    if indices.dtype.kind != "i" or indices.size > 1 << 20:
        raise ValueError("odd indices")
    return np.take(need(inputs, 0), indices, axis=node.integer("axis", 0))


def _dequantize(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    """(x - zero point) * scale, one scale for all or one for each index of an axis."""
    x, scale = need(inputs, 0), need(inputs, 1)
    zero = inputs[2] if len(inputs) > 2 and inputs[2] is not None else np.zeros_like(scale, x.dtype)
    if node.integer("block_size", 0):
        raise NotConstantError("quantised in blocks")
    if scale.size > 1:
        shape = [1] * x.ndim
        shape[node.integer("axis", 1)] = -1
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    return np.asarray((x.astype(np.int64) - zero.astype(np.int64)).astype(scale.dtype) * scale)


def of_each(function: Callable[..., Array]) -> Operation:
    """An operation that is a function of all of its inputs and of no attribute."""
    return lambda _node, inputs, _k: np.asarray(function(*(need(inputs, k) for k in range(len(inputs)))))


OPERATIONS: Mapping[str, Operation] = {
    "Identity": lambda _node, inputs, _k: need(inputs, 0),
    "Cast": lambda node, inputs, _k: need(inputs, 0).astype(_numpy(dtype_name(node.integer("to", 1)))),
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "DequantizeLinear": _dequantize,
    "Neg": of_each(np.negative),
    "Add": of_each(np.add),
    "Sub": of_each(np.subtract),
    "Mul": of_each(np.multiply),
    "Div": of_each(np.divide),
}
_ROUNDS = {"DequantizeLinear", "Add", "Sub", "Mul", "Div"}
_KEEPS_ZEROS = {"Identity", "Cast", "Expand", "Tile", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Gather"}
_KEEPS_ZEROS |= {"Split"}

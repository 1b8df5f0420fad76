"""The activation that a TensorFlow graph computes: told by what its operations do to numbers, not by their names.

Elementwise operations between the pre-activation and the state are evaluated in NumPy at some points, and the
result is held against every activation known. So tf.nn.relu, a maximum with 0, and a hard sigmoid made of clip, times
and plus need no pattern each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.walk import origin, scalar, stored
from rnnverify.canonical import Array
from rnnverify.containers.protobuf import MalformedError
from rnnverify.containers.tf_graph import Graph, Node

POINTS = np.linspace(-8.0, 8.0, 257)
"""(257,) pre-activations at which activations are told apart: 0 among them, and both sides of every clip."""

_MOST_VISITS = 96  # sums and products may share operands without end
_ERF = np.vectorize(math.erf, otypes=[np.float64])
ELEMENTWISE: dict[str, Callable[..., Array]] = {
    **{name: ACTIVATIONS[name.lower()] for name in ("Tanh", "Relu", "Relu6", "Sigmoid", "Softplus", "Softsign")},
    **{name: ACTIVATIONS[name.lower()] for name in ("Elu", "Selu")},
    "Exp": np.exp,
    "Log1p": np.log1p,
    "Erf": lambda z: _ERF(z),
    "Erfc": lambda z: 1 - _ERF(z),
    "Sqrt": np.sqrt,
    "Log": np.log,
    "Sin": np.sin,
    "Cos": np.cos,
    "Atan": np.arctan,
    "Sinh": np.sinh,
    "Asinh": np.arcsinh,
    "Expm1": np.expm1,
    "Sign": np.sign,
    "Reciprocal": np.reciprocal,
    "Softmax": lambda z: z * np.nan,  # mixes the units: not one of the activations, whatever they are
    "Cast": lambda z: z,
    "Neg": np.negative,
    "Abs": np.abs,
    "Square": np.square,
    "Pow": np.power,
    "Add": np.add,
    "AddV2": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "RealDiv": np.divide,
    "Maximum": np.maximum,
    "Minimum": np.minimum,
    "ClipByValue": np.clip,
}
"""Operations that take each number by itself, in NumPy."""


@dataclass(frozen=True)
class Product:
    """x @ weight."""

    left: str  # the tensor x
    weight: str


@dataclass
class Step:
    """One step of a cell: state = activation(sum of products + biases)."""

    products: list[Product] = field(default_factory=list)
    biases: list[str] = field(default_factory=list)
    activation: str = ""  # empty: none that is known
    operations: tuple[str, ...] = ()  # that compute the activation


def read_step(graph: Graph, tensor: str) -> Step | None:
    """The step that computes `tensor`; None where it is no activation of a single sum of products and biases."""
    reader = _Reader(graph)
    try:
        values = reader.values(tensor)
    except _NoStepError:
        return None
    step = Step(reader.products, reader.biases, operations=tuple(dict.fromkeys(reader.operations)))
    for name, function in ACTIVATIONS.items():
        if np.allclose(values, function(POINTS), rtol=1e-6, atol=1e-6):
            step.activation = name
            break
    return step


class _NoStepError(Exception):
    """What is there is no step of a cell."""


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._left = _MOST_VISITS
        self._sum = ""  # the node of the pre-activation
        self.products: list[Product] = []
        self.biases: list[str] = []
        self.operations: list[str] = []

    def values(self, tensor: str) -> Array:
        """`tensor` at POINTS of the pre-activation: (257,), or () for a constant. Raises `_NoStepError`."""
        node = self._visit(tensor)
        if node.name == self._sum:
            return POINTS
        value = scalar(node)
        if value is not None:
            return value.astype(np.float64)
        products: list[Product] = []
        biases: list[str] = []
        if self._affine(tensor, products, biases) and products:
            if self._sum:
                raise _NoStepError  # a second sum: a gate
            self._sum, self.products, self.biases = node.name, products, biases
            return POINTS
        self.operations.append(node.op)
        if node.op == "LeakyRelu":
            inner = self.values(node.inputs[0])
            return np.asarray(np.where(inner > 0, inner, inner * _alpha(node)))
        operation = ELEMENTWISE.get(node.op)
        if operation is None:
            raise _NoStepError
        inputs = [self.values(t) for t in node.inputs]
        try:
            with np.errstate(all="ignore"):
                return np.asarray(operation(*inputs))
        except (TypeError, ValueError) as error:  # another number of inputs than the operation takes
            raise _NoStepError from error

    def _affine(self, tensor: str, products: list[Product], biases: list[str]) -> bool:
        """Whether `tensor` is a sum of products and biases, which are collected."""
        node = self._visit(tensor)
        if node.op == "MatMul":
            weight = stored(self._graph, node.inputs[1])
            if weight is None or is_transposed(node):
                return False
            products.append(Product(node.inputs[0], weight.name))
            return True
        if node.op in ("Add", "AddV2", "BiasAdd", "AddN"):
            return all(self._affine(t, products, biases) for t in node.inputs)
        bias = stored(self._graph, tensor)
        if bias is not None:
            biases.append(bias.name)
        return bias is not None

    def _visit(self, tensor: str) -> Node:
        self._left -= 1
        node = origin(self._graph, tensor)
        if node is None or self._left < 0:
            raise _NoStepError
        return node


def is_transposed(node: Node) -> bool:
    """Whether a MatMul turns one of its inputs, as those of gradients do. Unreadable counts as turned."""
    try:
        return bool(node.attribute("transpose_a").number(5) or node.attribute("transpose_b").number(5))
    except MalformedError:
        return True


def _alpha(node: Node) -> float:
    """The slope of a LeakyRelu: AttrValue.f = 4, which lies as 32 bits."""
    try:
        bits = node.attribute("alpha").numbers.get(4)
    except MalformedError as error:
        raise _NoStepError from error
    return float(np.array(bits[-1], dtype=np.uint32).view(np.float32)) if bits else 0.2

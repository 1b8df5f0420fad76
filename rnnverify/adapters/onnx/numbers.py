"""What the operations inside a Loop or Scan of an ONNX graph do to numbers, in float64 (onnx/docs/Operators.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters.graph.activation import ELEMENTWISE
from rnnverify.adapters.onnx.values import OPERATIONS as MOVES
from rnnverify.adapters.onnx.values import Operation, need, of_each
from rnnverify.canonical import Array
from rnnverify.containers.onnx_graph import Node
from rnnverify.containers.onnx_tensors import FLOATS, dtype_name


def _cast(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    """Floats stay float64: what a narrower type rounds is no matter of the formula."""
    wanted = dtype_name(node.integer("to", 1))
    return need(inputs, 0).astype(np.float64 if wanted in FLOATS else wanted)


def _clip(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    low, high = (
        node.real(name, default) if name in node.attributes else inputs[k] if len(inputs) > k else None
        for k, name, default in ((1, "min", -np.inf), (2, "max", np.inf))
    )
    return np.asarray(np.clip(need(inputs, 0), -np.inf if low is None else low, np.inf if high is None else high))


def _gemm(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    a, b = need(inputs, 0), need(inputs, 1)
    product = (a.T if node.integer("transA", 0) else a) @ (b.T if node.integer("transB", 0) else b)
    third = inputs[2] if len(inputs) > 2 else None
    added = 0.0 if third is None else node.real("beta", 1.0) * third
    return np.asarray(node.real("alpha", 1.0) * product + added)


def _hard_sigmoid(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    return np.asarray(np.clip(node.real("alpha", 0.2) * need(inputs, 0) + node.real("beta", 0.5), 0, 1))


def _leaky(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    z = need(inputs, 0)
    return np.asarray(np.where(z < 0, node.real("alpha", 0.01) * z, z))


def _elu(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    z = need(inputs, 0)
    return np.asarray(np.where(z < 0, node.real("alpha", 1.0) * np.expm1(np.minimum(z, 0)), z))


def _selu(node: Node, inputs: Sequence[Array | None], _: int) -> Array:
    alpha, gamma = node.real("alpha", 1.6732632), node.real("gamma", 1.0507010)
    z = need(inputs, 0)
    return np.asarray(gamma * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))))


def _shape(_node: Node, inputs: Sequence[Array | None], _k: int) -> Array:
    return np.array(need(inputs, 0).shape)


def _expand(_node: Node, inputs: Sequence[Array | None], _k: int) -> Array:
    array, sizes = need(inputs, 0), need(inputs, 1)
    if np.prod(sizes, dtype=np.float64) > _MOST_ELEMENTS:
        raise ValueError("too many elements")
    return np.asarray(np.broadcast_to(array, np.broadcast_shapes(array.shape, tuple(sizes.tolist()))))


def _folded(function: np.ufunc) -> Operation:
    def fold(_node: Node, inputs: Sequence[Array | None], _k: int) -> Array:
        arrays = [need(inputs, k) for k in range(len(inputs))]
        found = arrays[0]
        for array in arrays[1:]:
            found = function(found, array)
        return np.asarray(found)

    return fold


_MOST_ELEMENTS = 1 << 24
_SHARED = {
    *(
        "Tanh",
        "Relu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Exp",
        "Log",
        "Sqrt",
        "Erf",
        "Neg",
        "Abs",
        "Pow",
        "Reciprocal",
    ),
    *("Add", "Sub", "Mul", "Div"),
}
"""Those that TensorFlow calls by the same name, and means the same by."""

OPERATIONS: Mapping[str, Operation] = {
    **MOVES,
    **{name: of_each(ELEMENTWISE[name]) for name in _SHARED},
    "Cast": _cast,
    "Clip": _clip,
    "Elu": _elu,
    "Expand": _expand,
    "Gemm": _gemm,
    "Gelu": of_each(ACTIVATIONS["gelu"]),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": of_each(ACTIVATIONS["hard_silu"]),
    "LeakyRelu": _leaky,
    "MatMul": of_each(np.matmul),
    "Max": _folded(np.maximum),
    "Min": _folded(np.minimum),
    "Mish": of_each(ACTIVATIONS["mish"]),
    "Selu": _selu,
    "Shape": _shape,
    "Sum": _folded(np.add),
    "Where": of_each(np.where),
    "Not": of_each(np.logical_not),
    "And": of_each(np.logical_and),
    "Or": of_each(np.logical_or),
    "Less": of_each(np.less),
    "Greater": of_each(np.greater),
    "LessOrEqual": of_each(np.less_equal),
    "GreaterOrEqual": of_each(np.greater_equal),
    "Equal": of_each(np.equal),
}
"""Operation to what it does to its inputs."""

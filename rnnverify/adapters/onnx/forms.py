"""The sums of products with weights in the body of a loop: what goes into the gates of a cell, one form for each.

    x @ W + h @ R + b_input + b_recurrent

Converters keep the weights of all gates side by side and split the sum, or keep them one by one; multiply x and h by a
kernel each, or [x, h] by one. All of that ends in the same forms, with the file's own numbers: cut, and never computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.adapters.onnx.body import PASSES, Body
from rnnverify.canonical import Array
from rnnverify.containers.onnx_graph import Node

Key = tuple[str, int]
"""The tensor that a sum is, and the first of its columns that are meant."""

_PRODUCTS = {"MatMul", "Gemm", "Einsum", "Conv"}


@dataclass(frozen=True)
class Form:
    """One such sum, of w columns. None: there is no such product or bias."""

    x: Array | None = None  # (I, w)
    h: Array | None = None  # (H, w)
    other: Array | None = None  # (H, w), over what is neither, such as r * h
    bias_input: Array | None = None  # (w,)
    bias_recurrent: Array | None = None
    leaves: tuple[tuple[str, str], ...] = ()  # stored tensors behind it, and what each is: kernel, recurrent, bias
    rounded: bool = False  # whether arithmetic was done on them

    @property
    def width(self) -> int:
        arrays = (self.x, self.h, self.other, self.bias_input)
        return int(next(array.shape[-1] for array in arrays if array is not None))

    def columns(self, some: slice) -> Form:
        """The same sum, of some of its columns."""
        names = ("x", "h", "other", "bias_input", "bias_recurrent")
        arrays = {name: array for name in names if (array := getattr(self, name)) is not None}
        return replace(self, **{name: array[..., some] for name, array in arrays.items()})


class Forms:
    """The forms of `body`, whose state has `width` numbers where only the sizes of products could tell."""

    def __init__(self, body: Body, state: str, width: int) -> None:
        self._body, self._state, self._width = body, state, width
        self.x: set[str] = set()  # the names under which an input was multiplied
        self.all: dict[str, Form] = {}
        self.missed = False  # whether there is a product that is none of these
        for node in body.graph.nodes:
            make = _MAKERS.get(node.op)
            made = make(self, node) if make and not node.domain else []
            self.all.update((name, form) for name, form in zip(node.outputs, made, strict=False) if name)
            self.missed |= node.op in _PRODUCTS and not made and body.constant(node.output(0)) is None

    def final(self) -> dict[Key, Form]:
        """Those that something else than a longer sum reads, gate by gate."""
        read = {
            name for node in self._body.graph.nodes if not set(node.outputs) & set(self.all) for name in node.inputs
        }
        read |= set(self._body.graph.outputs)
        once = {id(form): name for name, form in reversed(self.all.items()) if name in read}  # under the first name
        found: dict[Key, Form] = {}
        for name, form in self.all.items():
            if once.get(id(form)) == name:
                stretches = range(0, form.width, self._width)
                found |= {(name, k): form.columns(slice(k, k + self._width)) for k in stretches}
        return found

    def product(self, node: Node) -> list[Form]:
        """MatMul, and Gemm without its factors."""
        weight, left = self._body.constant(node.input(1)), node.input(0)
        plain = node.real("alpha", 1.0) == 1 and node.real("beta", 1.0) == 1 and not node.integer("transA", 0)
        if weight is None or weight.array.ndim != 2 or weight.array.dtype.kind != "f" or not plain:
            return []
        if self._body.constant(left) is not None:
            return []
        array = weight.array.T if node.integer("transB", 0) else weight.array
        form = self._of(left, array, tuple(weight.leaves), weight.rounded)
        if form and node.op == "Gemm" and node.input(2):
            bias = self.all.get(node.input(2)) or self._bias(node.input(2), form.width)
            form = self._joined(form, bias) if bias else None
        return [form] if form else []

    def _of(self, left: str, weight: Array, leaves: tuple[str, ...], rounded: bool) -> Form | None:
        """left @ weight, where left is an input, a state, something else, or two of these side by side."""
        body, left = self._body, self._body.origin(left)
        node = body.graph.producers.get(left)
        axis = node.integer("axis", 1) if node and node.op == "Concat" else None
        if node and axis in (1, -1) and len(node.inputs) == 2:
            parts = [body.origin(name) for name in node.inputs]
            inputs = [part in body.reads for part in parts]
            rest = len(weight) - self._width
            if inputs.count(True) != 1 or rest <= 0:
                return None
            cuts = (
                (slice(0, rest), slice(rest, None)) if inputs[0] else (slice(0, self._width), slice(self._width, None))
            )
            known = tuple((leaf, "kernel") for leaf in leaves)
            pieces = [self._single(part, weight[cut]) for part, cut in zip(parts, cuts, strict=True)]
            x, h, other = (next((p[k] for p in pieces if p[k] is not None), None) for k in range(3))
            return Form(x, h, other, leaves=known, rounded=rounded)
        x, h, other = self._single(left, weight)
        role = "kernel" if x is not None else "recurrent kernel"
        return Form(x, h, other, leaves=tuple((leaf, role) for leaf in leaves), rounded=rounded)

    def _single(self, left: str, weight: Array) -> tuple[Array | None, Array | None, Array | None]:
        if left in self._body.reads:
            self.x.add(left)
            return weight, None, None
        return (None, weight, None) if left == self._state else (None, None, weight)

    def _bias(self, tensor: str, width: int) -> Form | None:
        value = self._body.constant(tensor)
        if value is None or value.array.dtype.kind != "f" or value.array.size not in (1, width):
            return None
        array = np.broadcast_to(value.array.reshape(-1), (width,))
        return Form(bias_input=array, leaves=tuple((leaf, "bias") for leaf in value.leaves), rounded=value.rounded)

    def sum(self, node: Node) -> list[Form]:
        """Add or Sum of two forms, or of one and a bias."""
        forms = [self.all.get(name) for name in node.inputs]
        known = [form for form in forms if form]
        if len(node.inputs) != 2 or not known:
            return []
        if len(known) == 1:
            bias = self._bias(node.inputs[forms.index(None)], known[0].width)
            known += [bias] if bias else []
        joined = self._joined(*known) if len(known) == 2 else None
        return [joined] if joined else []

    def _joined(self, a: Form, b: Form) -> Form | None:
        twice = any(getattr(a, name) is not None and getattr(b, name) is not None for name in ("x", "h", "other"))
        if twice or a.width != b.width:
            return None
        x, h, other = (_either(getattr(a, name), getattr(b, name)) for name in ("x", "h", "other"))
        into, recurrent = (_biases(b), _biases(a)) if a.x is None and b.x is not None else (_biases(a), _biases(b))
        if len(into) + len(recurrent) > 2:
            return None
        alone = x is not None and h is not None and not into  # the state's half has the only bias
        first, second = (None, *recurrent, None)[:2] if alone else (*into, *recurrent, None, None)[:2]
        return Form(x, h, other, first, second, a.leaves + b.leaves, a.rounded or b.rounded)

    def split(self, node: Node) -> list[Form]:
        """Equal or stated parts of the columns."""
        form = self.all.get(node.input(0))
        if form is None or node.integer("axis", 0) not in (1, -1):
            return []
        stated = self._body.constant(node.input(1))
        sizes = node.integers("split") or (stated.array.tolist() if stated else None)
        sizes = sizes or [form.width // len(node.outputs)] * len(node.outputs)
        if sum(sizes) != form.width or len(sizes) != len(node.outputs):
            return []
        ends = np.cumsum(sizes)
        return [form.columns(slice(end - size, end)) for end, size in zip(ends, sizes, strict=True)]

    def slice(self, node: Node) -> list[Form]:
        """A stretch of the columns."""
        form = self.all.get(node.input(0))
        stated = [self._body.constant(node.input(k)) for k in range(1, 5)]
        lists = [node.integers(name) for name in ("starts", "ends", "axes", "steps")]
        starts, ends, axes, steps = (
            value.array.ravel().tolist() if value else other for value, other in zip(stated, lists, strict=True)
        )
        if form is None or axes not in ([1], [-1]) or steps not in (None, [1]) or not starts or not ends:
            return []
        return [form.columns(slice(starts[0], ends[0]))]

    def same(self, node: Node) -> list[Form]:
        """Handed on."""
        form = self.all.get(node.input(0))
        return [form] if form else []


def _either(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a


def _biases(form: Form) -> list[Array]:
    return [bias for bias in (form.bias_input, form.bias_recurrent) if bias is not None]


_MAKERS: dict[str, Callable[[Forms, Node], list[Form]]] = {
    **dict.fromkeys(("MatMul", "Gemm"), Forms.product),
    **dict.fromkeys(("Add", "Sum"), Forms.sum),
    **dict.fromkeys(PASSES, Forms.same),
    "Split": Forms.split,
    "Slice": Forms.slice,
}


def widths(body: Body) -> Iterator[tuple[str, int]]:
    """What the state may be called, and how wide it may be: as a product over it has it, or one over [x, h]."""
    found: dict[tuple[str, int], None] = {}
    for node in body.graph.nodes:
        weight = body.constant(node.input(1)) if node.op in ("MatMul", "Gemm") else None
        if weight is None or weight.array.ndim != 2:
            continue
        rows, columns = weight.array.shape[:: -1 if node.integer("transB", 0) else 1]
        left = body.origin(node.input(0))
        joined = body.graph.producers.get(left)
        for each in body.states:
            if each.before == left:
                found[each.before, rows] = None
            elif joined and joined.op == "Concat" and each.before in map(body.origin, joined.inputs):
                found |= {(each.before, columns // gates): None for gates in (1, 2, 4) if columns % gates == 0}
    yield from found

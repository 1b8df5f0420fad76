"""What stands around the recurrent part of a model: an embedding before it, dense layers behind it.

Both are read where a file has them, and taken into a comparison where both sides do. An embedding hands a row of its
table to the recurrent part for each token, without rounding. The dense layers are applied to the outputs of every step,
whichever steps the model itself goes on with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array
from rnnverify.cells.enclosure import Activation, Bounded, Product, reach
from rnnverify.precision import UNIT_ROUNDOFF, smallest
from rnnverify.step import Allowed


@dataclass(frozen=True)
class Embedding:
    """A table with one row of features for each token."""

    table: Array  # (V, I)
    name: str = ""  # what the file calls it
    masks_zero: bool = False  # steps of token 0 are skipped

    def __str__(self) -> str:
        return f"Embedding {self.name!r}, {len(self.table)} tokens"


@dataclass(frozen=True)
class Dense:
    """One dense layer: act(y @ kernel + bias)."""

    kernel: Array  # (F, O)
    bias: Array  # (O,), zeros where there is none
    activation: str = "linear"  # elementwise, by its name in `activations`, or softmax over the O outputs
    name: str = ""  # what the file calls it
    stated: bool = True  # False: the file does not say which activation it has

    def __post_init__(self) -> None:
        if self.kernel.ndim != 2 or self.kernel.size == 0 or self.bias.shape != self.kernel.shape[1:]:
            raise ValueError(f"a kernel {self.kernel.shape} and a bias {self.bias.shape} are no dense layer")

    def __str__(self) -> str:
        words = f", {self.activation}" if self.activation != "linear" else ""
        return f"Dense {self.name!r}, {self.kernel.shape[0]} -> {self.kernel.shape[1]}{words}"


@dataclass(frozen=True)
class Head:
    """Dense layers that feed each other; the first one reads the outputs of the recurrent part."""

    layers: tuple[Dense, ...]

    def __post_init__(self) -> None:
        sizes = [dense.kernel.shape for dense in self.layers]
        if not sizes or any(below[1] != above[0] for below, above in pairwise(sizes)):
            raise ValueError(f"dense layers of shapes {sizes} do not feed each other")

    @property
    def input_size(self) -> int:
        return int(self.layers[0].kernel.shape[0])

    @property
    def output_size(self) -> int:
        return int(self.layers[-1].kernel.shape[1])

    def __str__(self) -> str:
        return ", ".join(str(dense) for dense in self.layers)


@dataclass(frozen=True)
class Around:
    """Both, where the file has them and says, or lets it be told, that they belong to the recurrent part."""

    embedding: Embedding | None = None
    head: Head | None = None
    assumptions: tuple[str, ...] = ()  # how they were told, where the file does not say
    reads_final: bool = False  # the file says that the dense layers read the final states alone

    @property
    def words(self) -> tuple[str, ...]:
        """Every layer of it."""
        layers = self.head.layers if self.head else ()
        return (*((str(self.embedding),) if self.embedding else ()), *(str(dense) for dense in layers))

    def mapped(self, change: Callable[[Array], Array]) -> Around:
        """With `change` made to every weight."""
        table = self.embedding and replace(self.embedding, table=change(self.embedding.table))
        layers = self.head.layers if self.head else ()
        made = tuple(replace(d, kernel=change(d.kernel), bias=change(d.bias)) for d in layers)
        return replace(self, embedding=table, head=Head(made) if made else None)


NOTHING = Around()


def softmax(z: Array) -> Array:
    """Over the last axis."""
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def apply(head: Head, y: Array) -> Array:
    """What the dense layers make of y (..., F): (..., O), float64."""
    values = y.astype(np.float64)
    for dense in head.layers:
        z = values @ dense.kernel.astype(np.float64) + dense.bias.astype(np.float64)
        values = softmax(z) if dense.activation == "softmax" else activation(dense.activation)(z)
    return values


def enclosed(head: Head, y: Array, dtype: str, allowed: Allowed | None = None) -> Bounded:
    """The same for y (B, t, F) as it was recorded, and how far a framework that computes in `dtype` may lie from it.

    Every dense layer is one sum for each output, in any order, over inputs that the one below may have rounded.
    """
    rows = y.reshape(-1, y.shape[-1]).astype(np.float64)
    wide = np.zeros_like(rows)
    for dense in head.layers:
        kernel, bias = dense.kernel.astype(np.float64), dense.bias.astype(np.float64)
        product = Product(kernel, dtype)
        terms = np.full((len(rows), 1), len(kernel) + 1)
        off = reach(product.sizes(np.abs(rows) + wide) + np.abs(bias), terms, dtype) + product.sizes(wide)
        z = product(rows) + bias
        if dense.activation == "softmax":
            rows, wide = _softmax_enclosed(z, off, dtype)
        else:
            rows, wide = Activation(dense.activation, dtype, allowed)(z, off)
    shape = (*y.shape[:-1], head.output_size)
    return rows.reshape(shape), wide.reshape(shape)


def _softmax_enclosed(z: Array, off: Array, dtype: str) -> Bounded:
    """p = exp(z - max) / sum: a shift of z by off at most moves p by a factor of exp(2 off); then come the roundings.

    The difference z - max is rounded once, and carries its own size into exp, which is off by 4 units at most.
    """
    u, O = UNIT_ROUNDOFF[dtype], z.shape[-1]
    shift = off.max(axis=-1, keepdims=True) + u * (z.max(axis=-1, keepdims=True) - z)
    factor = np.expm1(2 * np.max(shift, axis=-1, keepdims=True)) if O > 1 else np.zeros_like(shift)
    p = softmax(z)
    return p, p * (factor + (O + 16) * u) * (1 + factor) + smallest(dtype)


def rule_of(head: Head) -> str:
    """How outputs decide: `argmax` of several, `above 0.5` for one that is a probability; empty where they do not."""
    last = head.layers[-1]
    if head.output_size > 1:
        return "argmax"
    return "above 0.5" if "sigmoid" in last.activation else ""


def decided(outputs: Array, rule: str) -> Array:
    """What outputs (B, T, O) decide at each step (B, T), by a rule of `rule_of`."""
    return np.argmax(outputs, axis=-1) if rule == "argmax" else np.asarray(outputs[..., 0] > 0.5)


def same_shapes(a: Head, b: Head) -> bool:
    return [dense.kernel.shape for dense in a.layers] == [dense.kernel.shape for dense in b.layers]


def features(embedding: Embedding, tokens: Array) -> Array:
    """The rows (B, T, I) of `tokens` (B, T), whole numbers. Raises IndexError where one is not in the table."""
    if tokens.min() < 0 or tokens.max() >= len(embedding.table):
        raise IndexError(f"tokens from {tokens.min()} to {tokens.max()}, and a table of {len(embedding.table)}")
    return np.asarray(embedding.table[tokens])

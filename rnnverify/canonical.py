"""The one form into which every framework's recurrent network is read.

Axes, used throughout:

    B  sequences      T  steps      I  input features      H  hidden units
    G  gates per unit (rnn 1, gru 3, lstm 4)

Row convention, samples are rows: the pre-activation of gate g at one step is

    x @ kernel[g] + bias_input[g] + h @ recurrent_kernel[g] + bias_recurrent[g]
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CellKind = Literal["rnn"]
Merge = Literal["concat", "sum", "mul", "ave"]

GATES: dict[CellKind, str] = {"rnn": "h"}
"""The canonical order of gates along axis G, one letter a gate."""


def reorder(array: Array, stored: str, wanted: str) -> Array:
    """`array` (G, ...) with its gates, stored in the order `stored`, in the order `wanted` (gate letters)."""
    if sorted(stored) != sorted(wanted) or len(array) != len(stored):
        raise ValueError(f"cannot reorder {len(array)} gates from {stored!r} to {wanted!r}")
    return array[[stored.index(gate) for gate in wanted]]


@dataclass(frozen=True)
class Direction:
    """The weights of one layer in one direction. A file with one bias has zeros in `bias_recurrent`."""

    kernel: Array  # (G, I, H)
    recurrent_kernel: Array  # (G, H, H)
    bias_input: Array  # (G, H)
    bias_recurrent: Array  # (G, H)
    reverse: bool = False  # runs from the last step to the first
    has_bias: bool = True  # False where the framework was told to use none: both biases are zeros
    rebuilt: bool = False  # True where the file holds a kernel in parts, whose product was rounded (weight_norm)

    def __post_init__(self) -> None:
        G, I, H = self.kernel.shape if self.kernel.ndim == 3 else (0, 0, 0)
        wanted = {
            "kernel": (G, I, H),
            "recurrent_kernel": (G, H, H),
            "bias_input": (G, H),
            "bias_recurrent": (G, H),
        }
        for name, array in self.tensors():
            if array.shape != wanted[name] or array.size == 0:
                raise ValueError(f"{name} has shape {array.shape}, wanted {wanted[name]} with no axis empty")

    @property
    def input_size(self) -> int:
        return int(self.kernel.shape[1])

    @property
    def hidden_size(self) -> int:
        return int(self.kernel.shape[2])

    @property
    def bias(self) -> Array:
        """(G, H) float64: what the two biases add up to, exactly enough for any float32 pair."""
        total: Array = self.bias_input.astype(np.float64) + self.bias_recurrent.astype(np.float64)
        return total

    @property
    def bias_magnitude(self) -> Array:
        """(G, H) float64: |b_ih| + |b_hh|, what the rounding of their sum is relative to."""
        return np.asarray(np.abs(self.bias_input.astype(np.float64)) + np.abs(self.bias_recurrent.astype(np.float64)))

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """The four weight tensors with their names."""
        yield "kernel", self.kernel
        yield "recurrent_kernel", self.recurrent_kernel
        yield "bias_input", self.bias_input
        yield "bias_recurrent", self.bias_recurrent


@dataclass(frozen=True)
class Layer:
    """One recurrent layer: one direction, or a forward and a reverse one whose outputs are merged.

    `time_restored` says whether a reverse direction hands its outputs on in the order of the input (Keras
    Bidirectional, PyTorch, TensorFlow) or in the order in which it processed them (Keras `go_backwards`).
    """

    directions: tuple[Direction, ...]  # one, or forward then reverse
    activation: str = "tanh"
    cell: CellKind = "rnn"
    merge: Merge = "concat"
    time_restored: bool = True
    name: str = ""  # what the file calls it

    def __post_init__(self) -> None:
        if len(self.directions) not in (1, 2):
            raise ValueError(f"a layer has one or two directions, not {len(self.directions)}")
        if len({(d.input_size, d.hidden_size) for d in self.directions}) != 1:
            raise ValueError("the two directions of a layer differ in size")

    @property
    def input_size(self) -> int:
        return self.directions[0].input_size

    @property
    def hidden_size(self) -> int:
        return self.directions[0].hidden_size

    @property
    def output_size(self) -> int:
        return self.hidden_size * (len(self.directions) if self.merge == "concat" else 1)

    @property
    def bidirectional(self) -> bool:
        return len(self.directions) == 2


@dataclass(frozen=True)
class Network:
    """A stack of recurrent layers; each layer reads the outputs of every step of the one below."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a network has at least one layer")
        for k in range(1, len(self.layers)):
            below, above = self.layers[k - 1].output_size, self.layers[k].input_size
            if below != above:
                raise ValueError(f"layer {k} reads {above} features, but layer {k - 1} has {below} outputs")

    @property
    def input_size(self) -> int:
        return self.layers[0].input_size

    @property
    def output_size(self) -> int:
        return self.layers[-1].output_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The widest dtype among the weights: the one that the network computes in."""
        return np.result_type(*(array for _, array in self.tensors()))

    def directions(self) -> Iterator[tuple[str, Layer, Direction]]:
        """Every direction with its layer and a name such as `layer 0` or `layer 1 reverse`.

        The order is that of final states everywhere: layer 0 forward, layer 0 reverse, layer 1 forward, ...
        """
        for k, layer in enumerate(self.layers):
            for direction in layer.directions:
                yield f"layer {k}" + (" reverse" if direction.reverse else ""), layer, direction

    def tensors(self) -> Iterator[tuple[str, Array]]:
        """Every weight tensor, named like `layer 0 reverse kernel`."""
        for where, _, direction in self.directions():
            for name, array in direction.tensors():
                yield f"{where} {name}", array

    def with_activations(self, activations: tuple[str, ...]) -> Network:
        """The same weights under other activations, one a layer."""
        layers = zip(self.layers, activations, strict=True)
        return replace(self, layers=tuple(replace(layer, activation=name) for layer, name in layers))

    def mapped(self, change: Callable[[Array], Array]) -> Network:
        """The same network with every weight tensor changed."""

        def direction(d: Direction) -> Direction:
            W, U, b_ih, b_hh = (change(array) for _, array in d.tensors())
            return Direction(W, U, b_ih, b_hh, d.reverse, d.has_bias)

        layers = (replace(y, directions=tuple(direction(d) for d in y.directions)) for y in self.layers)
        return replace(self, layers=tuple(layers))

    def fingerprint(self) -> str:
        """SHA-256 over activations, structure and the values of all weights, whatever dtype they were stored in."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for layer in self.layers:
            digest.update(f"{layer.cell} {layer.activation} {layer.merge} {layer.time_restored}\n".encode())
            for direction in layer.directions:
                digest.update(f"{direction.reverse}\n".encode())
                for array in (direction.kernel, direction.recurrent_kernel, direction.bias):
                    digest.update(repr(array.shape).encode())
                    digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    def kernel_fingerprint(self) -> str:
        """SHA-256 over the kernels alone: what a correct port leaves as it is, where biases may be added up."""
        digest = hashlib.sha256()
        for _, _, direction in self.directions():
            for array in (direction.kernel, direction.recurrent_kernel):
                digest.update(repr(array.shape).encode())
                digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    def parameter_counts(self) -> dict[str, int]:
        """How many numbers each framework stores for this network.

        `separate` (Keras): kernel, recurrent kernel, one bias. `concatenated` (TensorFlow): one kernel over [x, h],
        exactly as many. `two biases` (PyTorch): H redundant numbers more for each gate and direction.
        """
        separate = doubled = 0
        for _, _, d in self.directions():
            separate += d.kernel.size + d.recurrent_kernel.size + d.has_bias * d.bias_input.size
            doubled += d.has_bias * d.bias_input.size
        return {"separate": separate, "concatenated": separate, "two biases": separate + doubled}

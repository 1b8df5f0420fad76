"""The one form into which every framework's recurrent network is read.

Axes, used throughout:

    B  sequences      T  steps      I  input features      H  hidden units
    G  gates per unit (rnn 1, gru 3, lstm 4)      P  width of h: H, but for a projected LSTM

Row convention, samples are rows: the pre-activation of gate g at one step is

    x @ kernel[g] + bias_input[g] + h @ recurrent_kernel[g] + bias_recurrent[g]

`cells/` has what each kind of cell makes of it.
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
CellKind = Literal["rnn", "gru", "lstm"]
Merge = Literal["concat", "sum", "mul", "ave"]

GATES: dict[CellKind, str] = {"rnn": "h", "gru": "rzn", "lstm": "ifgo"}
"""The canonical order of gates along axis G, one letter a gate: reset, update, new; input, forget, cell, output."""

GATE_NAMES: dict[CellKind, tuple[str, ...]] = {
    "rnn": ("",),
    "gru": ("reset gate", "update gate", "candidate"),
    "lstm": ("input gate", "forget gate", "candidate", "output gate"),
}
"""The same in words, for reports."""

PEEPHOLES = "ifo"
"""The gates of an LSTM that may look at the cell state, in the order of `Direction.peephole`."""


def reorder(array: Array, stored: str, wanted: str) -> Array:
    """`array` (G, ...) with its gates, stored in the order `stored`, in the order `wanted` (gate letters)."""
    if sorted(stored) != sorted(wanted) or len(array) != len(stored):
        raise ValueError(f"cannot reorder {len(array)} gates from {stored!r} to {wanted!r}")
    return array[[stored.index(gate) for gate in wanted]]


@dataclass(frozen=True)
class Direction:
    """The weights of one layer in one direction. A file with one bias has zeros in `bias_recurrent`.

    A forget bias that a framework adds at run time stands in `bias_recurrent`, apart from what the file holds.
    """

    kernel: Array  # (G, I, H)
    recurrent_kernel: Array  # (G, P, H)
    bias_input: Array  # (G, H)
    bias_recurrent: Array  # (G, H)
    reverse: bool = False  # runs from the last step to the first
    has_bias: bool = True  # False where the framework was told to use none: both biases are zeros
    rebuilt: bool = False  # True where the file holds a kernel in parts, whose product was rounded (weight_norm)
    peephole: Array | None = None  # (3, H): of the gates i, f and o over the cell state
    projection: Array | None = None  # (H, P): h = (o * act(c)) @ projection

    def __post_init__(self) -> None:
        G, I, H = self.kernel.shape if self.kernel.ndim == 3 else (0, 0, 0)
        P = H if self.projection is None or self.projection.ndim != 2 else self.projection.shape[1]
        wanted = {
            "kernel": (G, I, H),
            "recurrent_kernel": (G, P, H),
            "bias_input": (G, H),
            "bias_recurrent": (G, H),
            "peephole": (len(PEEPHOLES), H),
            "projection": (H, P),
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
    def state_size(self) -> int:
        """P: how many numbers h has."""
        return int(self.recurrent_kernel.shape[1])

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
        """The weight tensors with their names: four, and those that only some LSTMs have."""
        yield "kernel", self.kernel
        yield "recurrent_kernel", self.recurrent_kernel
        yield "bias_input", self.bias_input
        yield "bias_recurrent", self.bias_recurrent
        if self.peephole is not None:
            yield "peephole", self.peephole
        if self.projection is not None:
            yield "projection", self.projection

    def mapped(self, change: Callable[[Array], Array]) -> Direction:
        """The same direction with every weight tensor changed."""
        changed: dict[str, Any] = {name: change(array) for name, array in self.tensors()}
        return replace(self, rebuilt=False, **changed)


@dataclass(frozen=True)
class Gating:
    """What the formula of a gated cell leaves open, beside the activation of its candidate."""

    activation: str = "sigmoid"  # of the gates
    output: str = ""  # LSTM, of the cell state where it becomes h; empty: that of the candidate
    reset_after: bool = True  # GRU: the reset gate acts after the recurrent product, else on h before it
    cell_clip: float = 0.0  # LSTM: no cell state grows beyond it; 0: none
    forget_added: float = 0.0  # LSTM: added to the forget gate after its activation; only a mistake does that


@dataclass(frozen=True)
class Layer:
    """One recurrent layer: one direction, or a forward and a reverse one whose outputs are merged.

    `time_restored` says whether a reverse direction hands its outputs on in the order of the input (Keras
    Bidirectional, PyTorch, TensorFlow) or in the order in which it processed them (Keras `go_backwards`).
    """

    directions: tuple[Direction, ...]  # one, or forward then reverse
    activation: str = "tanh"  # of the new state, in a gated cell of the candidate
    cell: CellKind = "rnn"
    merge: Merge = "concat"
    time_restored: bool = True
    name: str = ""  # what the file calls it
    gating: Gating = Gating()  # means nothing where there are no gates

    def __post_init__(self) -> None:
        if len(self.directions) not in (1, 2):
            raise ValueError(f"a layer has one or two directions, not {len(self.directions)}")
        if len({(d.input_size, d.hidden_size, d.state_size) for d in self.directions}) != 1:
            raise ValueError("the two directions of a layer differ in size")
        for direction in self.directions:
            gates = len(direction.kernel)
            if gates != len(GATES[self.cell]):
                raise ValueError(f"kernel has {gates} gates, an {self.cell} has {len(GATES[self.cell])}")
            if self.cell != "lstm" and (direction.peephole is not None or direction.projection is not None):
                raise ValueError(f"an {self.cell} has neither peepholes nor a projection")

    @property
    def input_size(self) -> int:
        return self.directions[0].input_size

    @property
    def hidden_size(self) -> int:
        return self.directions[0].hidden_size

    @property
    def state_size(self) -> int:
        return self.directions[0].state_size

    @property
    def output_size(self) -> int:
        return self.state_size * (len(self.directions) if self.merge == "concat" else 1)

    @property
    def formula(self) -> tuple[object, ...]:
        """All that decides what a step computes, but for the weights."""
        output = self.gating.output or self.activation
        added = f" + {self.gating.forget_added:g} in the forget gate" * bool(self.gating.forget_added)
        gates = {
            "rnn": (),
            "gru": (self.gating.activation, self.gating.reset_after),
            "lstm": (self.gating.activation + added, output, self.gating.cell_clip),
        }
        return (self.cell, self.activation, *gates[self.cell])

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

    def state_sizes(self) -> tuple[list[int], list[int]]:
        """P of every direction, and H of every one of an LSTM: how wide h and c are."""
        both = [(layer, direction) for _, layer, direction in self.directions()]
        return [d.state_size for _, d in both], [d.hidden_size for layer, d in both if layer.cell == "lstm"]

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
        layers = (replace(y, directions=tuple(d.mapped(change) for d in y.directions)) for y in self.layers)
        return replace(self, layers=tuple(layers))

    def fingerprint(self) -> str:
        """SHA-256 over activations, structure and the values of all weights, whatever dtype they were stored in."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for layer in self.layers:
            digest.update(f"{' '.join(map(str, layer.formula))} {layer.merge} {layer.time_restored}\n".encode())
            for direction in layer.directions:
                digest.update(f"{direction.reverse}\n".encode())
                for array in (*_kernels(direction), *_biases(layer, direction)):
                    digest.update(repr(array.shape).encode())
                    digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return digest.hexdigest()

    def kernel_fingerprint(self) -> str:
        """SHA-256 over the kernels alone: what a correct port leaves as it is, where biases may be added up."""
        digest = hashlib.sha256()
        for _, _, direction in self.directions():
            for array in _kernels(direction):
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
            separate += sum(array.size for array in _kernels(d)) + d.has_bias * d.bias_input.size
            doubled += d.has_bias * d.bias_input.size
        return {"separate": separate, "concatenated": separate, "two biases": separate + doubled}


def _kernels(direction: Direction) -> Iterator[Array]:
    """Every weight but the biases."""
    return (array for name, array in direction.tensors() if not name.startswith("bias"))


def _biases(layer: Layer, direction: Direction) -> Iterator[Array]:
    """What counts of the biases: their sum, but in the candidate of a GRU that resets its recurrent half, both."""
    yield direction.bias
    if layer.cell == "gru" and layer.gating.reset_after:
        yield direction.bias_recurrent[GATES["gru"].index("n")]

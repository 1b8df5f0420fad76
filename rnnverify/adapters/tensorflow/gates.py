"""How the gated cells of TensorFlow 1 lay out their weights.

Every kernel is over a concatenation [x, h] (rows 0 to I-1 for the input), its columns gate after gate:

    lstm       kernel (I+P, 4H)  i, j, f, o   j is the candidate      tensorflow/python/ops/rnn_cell_impl.py
    coupled    kernel (I+P, 3H)  j, f, o      i = 1 - f               contrib/rnn/python/ops/rnn_cell.py
    gru        gates (I+H, 2H)   r, u         candidate (I+H, H), over [x, r * h]; u keeps h
    cudnn_gru  gates (I+H, 2H)   r, u         candidate in two halves, the recurrent one inside the reset
    keras_*    kernel (I, GH) and recurrent_kernel (H, GH) of a Keras cell in dynamic_rnn: LSTM i, f, c, o, GRU z, r, h

(TensorFlow 0.12 to 2.21.) P is H, or the columns of the projection (H, P). A forget bias is added at run time: it is
no part of these arrays, and goes into `bias_recurrent`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.adapters.keras.gates import IN_ONE
from rnnverify.canonical import GATES, Array, CellKind, Direction, Gating, reorder

Arrays = Mapping[str, Array]
"""The arrays of one cell by role: `kernel`, `bias`, and those that only some cells have."""

Sizes = tuple[int, int, int]
"""I, P and H."""

Shapes = Callable[[Sizes], Mapping[str, tuple[int, ...]]]
"""By role, the shapes of the arrays of a cell of these sizes."""

LSTM = "igfo"
"""The gates of TensorFlow's own LSTM cells in the order of their columns."""

_PEEPHOLES = ("peephole_i", "peephole_f", "peephole_o")


@dataclass(frozen=True)
class GateLayout:
    """One layout; `shapes` says what shape each array has that such a cell may hold."""

    cell: CellKind
    stored: str  # the gates that lie beside each other in the kernel, in order
    shapes: Shapes
    optional: tuple[frozenset[str], ...]  # groups that are there whole, or not at all
    make: Callable[[Arrays], Direction]  # one that runs forward, without a forget bias
    rows: str = "[x, h]"  # what the rows of the kernel are over; x where there is a recurrent one
    two_biases: bool = False  # the bias may have two rows

    @property
    def gates(self) -> int:
        return len(self.stored)

    def sizes(self, kernel: tuple[int, ...], projection: tuple[int, ...] | None) -> Sizes | None:
        """I, P and H, from the shapes of the kernel and the projection; None where no cell can have them."""
        if len(kernel) != 2 or kernel[1] % self.gates or (projection is not None and len(projection) != 2):
            return None
        H = kernel[1] // self.gates
        P = projection[1] if projection else H
        I = kernel[0] - (P if self.rows == "[x, h]" else 0)
        return (I, P, H) if I > 0 and H > 0 and P > 0 else None


def gating(kind: str, arrays: Arrays) -> Gating:
    """What the cells of a layout compute with, where nothing else is stated."""
    if kind == "keras_gru":
        return Gating(reset_after="bias" not in arrays or arrays["bias"].ndim == 2)
    return Gating(reset_after=kind != "gru")


def with_forget_bias(kind: str, direction: Direction, forget_bias: float) -> Direction:
    """`direction`, of an LSTM, with what is added to its forget gate at run time; coupled gates stay opposite."""
    added = np.array(direction.bias_recurrent)
    added[1] = forget_bias
    if kind == "coupled":
        added[0] = -forget_bias
    return replace(direction, bias_recurrent=added)


def _split(matrix: Array, gates: int) -> Array:
    """(R, gates * H) or (gates * H,) as (gates, R, H) or (gates, H)."""
    return np.stack(np.split(matrix, gates, axis=-1))


def _lstm(arrays: Arrays) -> Direction:
    weights, bias = (reorder(_split(arrays[role], 4), LSTM, GATES["lstm"]) for role in ("kernel", "bias"))
    peephole = np.stack([arrays[role] for role in _PEEPHOLES]) if "peephole_i" in arrays else None
    return _from_rows(weights, bias, np.zeros_like(bias), arrays.get("projection"), peephole)


def _coupled(arrays: Arrays) -> Direction:
    """i = 1 - s(v) = s(-v): the weights of f, negated."""
    weights, bias = (_with_input_gate(_split(arrays[role], 3)) for role in ("kernel", "bias"))
    peephole = None
    if "peephole_f" in arrays:
        peephole = np.stack([-arrays["peephole_f"], arrays["peephole_f"], arrays["peephole_o"]])
    return _from_rows(weights, bias, np.zeros_like(bias), arrays.get("projection"), peephole)


def _with_input_gate(stored: Array) -> Array:
    """(3, ...) of j, f, o as (4, ...) of i, f, g, o."""
    candidate, forget, output = stored
    return np.stack([-forget, forget, candidate, output])


def _gru(arrays: Arrays) -> Direction:
    weights = np.concatenate([_split(arrays["kernel"], 2), arrays["candidate_kernel"][None]])
    bias = np.concatenate([_split(arrays["bias"], 2), arrays["candidate_bias"][None]])
    return _from_rows(weights, bias, np.zeros_like(bias))


def _cudnn_gru(arrays: Arrays) -> Direction:
    candidate = np.concatenate([arrays["input_kernel"], arrays["hidden_kernel"]])
    weights = np.concatenate([_split(arrays["kernel"], 2), candidate[None]])
    bias = np.concatenate([_split(arrays["bias"], 2), arrays["input_bias"][None]])
    recurrent = np.concatenate([np.zeros_like(bias[:2]), arrays["hidden_bias"][None]])
    return _from_rows(weights, bias, recurrent)


def _from_rows(
    weights: Array, bias: Array, bias_recurrent: Array, projection: Array | None = None, peephole: Array | None = None
) -> Direction:
    """Weights (G, I+P, H), the input's rows first."""
    P = weights.shape[2] if projection is None else projection.shape[1]
    kernel, recurrent = weights[:, :-P], weights[:, -P:]
    return Direction(kernel, recurrent, bias, bias_recurrent, peephole=peephole, projection=projection)


def _keras(cell: CellKind) -> Callable[[Arrays], Direction]:
    stored, wanted = IN_ONE[cell], GATES[cell]

    def make(arrays: Arrays) -> Direction:
        G = len(stored)
        kernel, recurrent = (reorder(_split(arrays[r], G), stored, wanted) for r in ("kernel", "recurrent_kernel"))
        bias = arrays.get("bias", np.zeros(G * kernel.shape[2], kernel.dtype))
        halves = np.atleast_2d(bias)
        first = reorder(_split(halves[0], G), stored, wanted)
        second = reorder(_split(halves[1], G), stored, wanted) if len(halves) == 2 else np.zeros_like(first)
        return Direction(kernel, recurrent, first, second, has_bias="bias" in arrays)

    return make


def _lstm_shapes(gates: int, peepholes: Sequence[str]) -> Shapes:
    def shapes(sizes: Sizes) -> Mapping[str, tuple[int, ...]]:
        I, P, H = sizes
        looks = dict.fromkeys(peepholes, (H,))
        return {"kernel": (I + P, gates * H), "bias": (gates * H,), "projection": (H, P), **looks}

    return shapes


def _gru_shapes(sizes: Sizes) -> Mapping[str, tuple[int, ...]]:
    I, _, H = sizes
    candidate = {"candidate_kernel": (I + H, H), "candidate_bias": (H,)}
    return {"kernel": (I + H, 2 * H), "bias": (2 * H,), **candidate}


def _cudnn_shapes(sizes: Sizes) -> Mapping[str, tuple[int, ...]]:
    I, _, H = sizes
    halves = {"input_kernel": (I, H), "hidden_kernel": (H, H), "input_bias": (H,), "hidden_bias": (H,)}
    return {"kernel": (I + H, 2 * H), "bias": (2 * H,), **halves}


def _keras_shapes(gates: int) -> Shapes:
    def shapes(sizes: Sizes) -> Mapping[str, tuple[int, ...]]:
        I, _, H = sizes
        return {"kernel": (I, gates * H), "recurrent_kernel": (H, gates * H), "bias": (gates * H,)}

    return shapes


_PROJECTION = frozenset({"projection"})
_BIAS = (frozenset({"bias"}),)
LAYOUTS: dict[str, GateLayout] = {
    "lstm": GateLayout("lstm", LSTM, _lstm_shapes(4, _PEEPHOLES), (frozenset(_PEEPHOLES), _PROJECTION), _lstm),
    "coupled": GateLayout(
        "lstm", "gfo", _lstm_shapes(3, _PEEPHOLES[1:]), (frozenset(_PEEPHOLES[1:]), _PROJECTION), _coupled
    ),
    "gru": GateLayout("gru", "rz", _gru_shapes, (), _gru),
    "cudnn_gru": GateLayout("gru", "rz", _cudnn_shapes, (), _cudnn_gru),
    "keras_lstm": GateLayout("lstm", IN_ONE["lstm"], _keras_shapes(4), _BIAS, _keras("lstm"), "x"),
    "keras_gru": GateLayout("gru", IN_ONE["gru"], _keras_shapes(3), _BIAS, _keras("gru"), "x", True),
}
"""By the kind that `kinds` tells."""

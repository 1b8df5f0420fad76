"""The weights of one recurrent ONNX node, in canonical form.

Layout (onnx/docs/Operators.md, operator sets 1 to 23), D directions along the first axis, gates one below the other:

    W (D, G*H, I)    R (D, G*H, H)    B (D, 2*G*H): the biases of W, then those of R    P (D, 3*H)

with the gates of a GRU in the order z, r, h, of an LSTM i, o, f, c, and the peepholes P in the order i, o, f.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rnnverify.adapters.gate_order import in_order
from rnnverify.adapters.onnx.parts import GATE_COUNT, Part
from rnnverify.adapters.onnx.values import NotConstantError, Value, Values
from rnnverify.canonical import GATES, PEEPHOLES, Array, CellKind, Direction, reorder
from rnnverify.errors import FileError, UnsupportedError, printable

CELLS: dict[str, CellKind] = {"RNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
STORED = {"RNN": "h", "GRU": "zrn", "LSTM": "iofg"}
"""The order of the gates in the file, in the letters of `canonical.GATES`."""

PEEPHOLES_STORED = "iof"
_INPUT, _FORGET = GATES["lstm"].index("i"), GATES["lstm"].index("f")
INPUTS = {"W": 1, "R": 2, "B": 3, "P": 7}
"""Where the tensors stand among the inputs of a node."""
_ROLES = {
    "W": ("kernel (transposed)", "rows"),
    "R": ("recurrent kernel (transposed)", "rows"),
    "B": ("biases (input, then recurrent)", ""),
    "P": ("peepholes", ""),
}
"""What the tensors of a node are, and along what their gates lie."""
_ADVICE = "the file contradicts itself: export the model again"


@dataclass(frozen=True)
class Weights:
    """The stored tensors of one node."""

    directions: tuple[Direction, ...]
    values: Mapping[str, Value]  # W, R, and B and P where they are given, as the file has them; of a loop "body"
    roles: tuple[tuple[str, str], ...]  # stored tensors, and what each of them is


def read_weights(path: Path, part: Part, values: Values) -> Weights:
    """The weights of `part`. Raises UnsupportedError where the file does not hold them, FileError where they do not
    fit together."""
    if part.loop:
        (own,) = part.loop.layer.directions
        leaves = dict(part.loop.leaves)
        whole = Value(own.kernel, list(leaves), own.rebuilt)
        return Weights((replace(own, reverse=part.ways[0]),), {"body": whole}, part.loop.leaves)
    found = {role: value for role in INPUTS if (value := _input(path, part, role, values)) is not None}
    _check(path, part, {role: value.array for role, value in found.items()})
    directions = tuple(_direction(part, found, d) for d in range(len(part.ways)))
    roles = tuple((leaf, _role(part, role)) for role, value in found.items() for leaf in value.leaves)
    return Weights(directions, found, roles)


def _role(part: Part, role: str) -> str:
    words, along = _ROLES[role]
    return words + in_order(PEEPHOLES_STORED if role == "P" else STORED[part.op], along)


def _input(path: Path, part: Part, role: str, values: Values) -> Value | None:
    tensor = part.node.input(INPUTS[role]) if role != "P" or part.op == "LSTM" else ""
    shown = printable(part.name, 80)
    if not tensor:
        if role in ("W", "R"):
            raise FileError(path, f"{shown} has no {role}", _ADVICE)
        return None
    try:
        value = values.value(tensor)
    except NotConstantError as error:
        found = f"{role} of {shown}, {printable(tensor, 80)}, is {error}: the file does not hold it"
        raise UnsupportedError(path, found, "export the model with its weights as initializers") from error
    if value.array.dtype.kind != "f":
        found = f"{role} of {shown} holds {value.array.dtype.name}"
        raise UnsupportedError(path, found, "wanted floating-point numbers")
    return value


def _check(path: Path, part: Part, arrays: Mapping[str, Array]) -> None:
    D, G, shown = len(part.ways), GATE_COUNT[part.op], printable(part.name, 80)
    R = arrays["R"]
    H = part.node.integer("hidden_size", R.shape[2] if R.ndim == 3 else 0)
    I = arrays["W"].shape[2] if arrays["W"].ndim == 3 else 0
    wanted = {"W": (D, G * H, I), "R": (D, G * H, H), "B": (D, 2 * G * H), "P": (D, 3 * H)}
    for role, array in arrays.items():
        if array.shape != wanted[role] or array.size == 0:
            words = f"wanted {wanted[role]} of {D} direction{'s' if D > 1 else ''} and hidden_size {H}"
            raise FileError(path, f"{role} of {shown} has the shape {array.shape}, {words}", _ADVICE)


def _direction(part: Part, values: Mapping[str, Value], d: int) -> Direction:
    cell = CELLS[part.op]
    G = GATE_COUNT[part.op]
    rebuilt = any(values[role].rounded for role in ("W", "R"))

    def gates(array: Array) -> Array:
        """(G*H, ...) to (G, H, ...), in canonical order."""
        return reorder(array.reshape(G, -1, *array.shape[1:]), STORED[part.op], GATES[cell])

    kernel = gates(values["W"].array[d]).swapaxes(1, 2)  # (G, H, I) -> (G, I, H)
    recurrent_kernel = gates(values["R"].array[d]).swapaxes(1, 2)
    biases = values["B"].array[d] if "B" in values else np.zeros(2 * G * kernel.shape[2], kernel.dtype)
    bias_input, bias_recurrent = (gates(half) for half in np.split(biases, 2))
    peephole = reorder(values["P"].array[d].reshape(3, -1), PEEPHOLES_STORED, PEEPHOLES) if "P" in values else None
    has_bias, way = "B" in values, part.ways[d]
    made = Direction(kernel, recurrent_kernel, bias_input, bias_recurrent, way, has_bias, rebuilt, peephole)
    return coupled(made) if part.coupled else made


def coupled(direction: Direction) -> Direction:
    """An LSTM whose forget gate is 1 - its input gate (`input_forget`): the same gate with the weights negated."""

    def forget(array: Array) -> Array:
        changed: Array = array.copy()
        changed[_FORGET] = -array[_INPUT]  # the peepholes, too, begin with those of i and f
        return changed

    return direction.mapped(forget)

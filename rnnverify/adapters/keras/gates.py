"""The weights of Keras cells to canonical directions, for every way in which Keras lays gates out.

    one array for all gates    kernel (I, GH), recurrent_kernel (H, GH), bias (GH,); gates z r h and i f c o
                               GRU(reset_after=True): bias (2, 3H), of the input and of the state
                               keras/layers/recurrent.py (2.0-2.3), keras/src/layers/rnn (3); GRU and LSTM of Keras 1
                               with consume_less='gpu'
    CuDNNGRU, CuDNNLSTM        kernel of each gate as the buffer of cuDNN's (H, I), recurrent kernel of each gate
                               transposed, bias (2GH,); `preprocess_weights_for_loading` in keras/engine/saving.py
    one array for each gate    W_z U_z b_z W_r U_r b_r W_h U_h b_h, or W_i U_i b_i W_c ... W_f ... W_o ...
                               keras/layers/recurrent.py (1.0-1.2), by number in keras/models.py (0.3)

Vanilla cells have one gate. Samples are rows, as in the canonical form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnverify.adapters.gate_order import in_order
from rnnverify.adapters.keras.cells import Cell
from rnnverify.canonical import GATES, Array, CellKind, Direction, Layer, reorder

ROLES = ("kernel", "recurrent_kernel", "bias")
IN_ONE: dict[CellKind, str] = {"rnn": "h", "gru": "zrn", "lstm": "ifgo"}
"""The order of gates in one array, in canonical letters."""

APART: dict[CellKind, str] = {"gru": "zrh", "lstm": "icfo"}
"""The order in which Keras 0 and 1 list one array for each gate, in its own letters."""

_CANONICAL = {"h": "n", "c": "g"}

_HALVES = " (input, then recurrent)"

Wanted = tuple[str, tuple[int, ...], str]
"""Of one tensor: its role, its shape, and that shape in letters."""


def wanted(cell: Cell, count: int, I: int) -> list[Wanted]:
    """What the `count` tensors of a cell have to be, in the order of the file."""
    H, G = cell.units, len(GATES[cell.kind])
    if _apart(cell, count):
        shapes = [*zip(ROLES, ((I, H), (H, H), (H,)), ("(I, H)", "(H, H)", "(H,)"), strict=True)]
        gates = [_CANONICAL.get(gate, gate) for gate in APART[cell.kind]]
        return [(f"{role} of gate {gate}", shape, text) for gate in gates for role, shape, text in shapes]
    g = str(G) if G > 1 else ""
    bias: Wanted = ("bias", (G * H,), f"({g}H,)")
    if cell.cudnn:
        bias = ("bias", (2 * G * H,), f"({2 * G}H,)")
    elif cell.kind == "gru" and cell.gating.reset_after:
        bias = ("bias", (2, G * H), f"(2, {g}H)")
    kernels: list[Wanted] = [("kernel", (I, G * H), f"(I, {g}H)"), ("recurrent_kernel", (H, G * H), f"(H, {g}H)")]
    return [*kernels, bias][:count]


def gates_of(cell: Cell, count: int, role: str) -> str:
    """In what order one of the `count` tensors of a cell holds the gates, for its role; empty where it has one."""
    if _apart(cell, count):
        return ""
    two = role == "bias" and (cell.cudnn or (cell.kind == "gru" and cell.gating.reset_after))
    return _HALVES * two + in_order(IN_ONE[cell.kind], "columns" if role != "bias" or (two and not cell.cudnn) else "")


def direction(cell: Cell, arrays: Sequence[Array], reverse: bool) -> Direction:
    """The tensors of a cell, of the shapes that are `wanted`, as a canonical direction."""
    if _apart(cell, len(arrays)):
        return _stacked(cell, arrays, reverse)
    stored, gates, H = IN_ONE[cell.kind], GATES[cell.kind], cell.units
    kernel, recurrent = (np.stack(np.split(array, len(gates), axis=1)) for array in arrays[:2])
    if cell.cudnn:  # the gate's (I, H) is but another shape of the buffer that cuDNN reads as (H, I)
        kernel = kernel.reshape(len(gates), H, -1).swapaxes(1, 2)
        recurrent = recurrent.swapaxes(1, 2)
    none = np.zeros((len(gates), H), (arrays[2] if len(arrays) > 2 else kernel).dtype)
    biases = [*arrays[2].reshape(-1, len(gates), H)] if len(arrays) > 2 else []
    of_input, of_state = ([*biases, none, none])[:2]
    kernel, recurrent, of_input, of_state = (
        reorder(array, stored, gates) for array in (kernel, recurrent, of_input, of_state)
    )
    return Direction(kernel, recurrent, of_input, of_state, reverse, bool(biases))


def laid_out(layer: Layer, direction: Direction) -> dict[str, Array]:
    """The inverse, as `set_weights` of Keras 2 and 3 takes it: float64 (I, GH), (H, GH) and bias, of which there may be
    none. Two biases are added up but for those of a GRU that resets after the product."""
    gates, stored = GATES[layer.cell], IN_ONE[layer.cell]

    def joined(array: Array) -> Array:
        return np.concatenate([*reorder(array, gates, stored)], axis=-1)

    found = {"kernel": joined(direction.kernel), "recurrent_kernel": joined(direction.recurrent_kernel)}
    if keeps_both(layer):
        return {**found, "bias": np.stack([joined(direction.bias_input), joined(direction.bias_recurrent)])}
    return {**found, "bias": joined(direction.bias)}


def keeps_both(layer: Layer) -> bool:
    """Whether Keras stores two biases of such a layer."""
    return layer.cell == "gru" and layer.gating.reset_after


def _apart(cell: Cell, count: int) -> bool:
    return cell.kind != "rnn" and count > len(ROLES)


def _stacked(cell: Cell, arrays: Sequence[Array], reverse: bool) -> Direction:
    letters = "".join(_CANONICAL.get(gate, gate) for gate in APART[cell.kind])
    kernel, recurrent, bias = (reorder(np.stack(arrays[k::3]), letters, GATES[cell.kind]) for k in range(3))
    return Direction(kernel, recurrent, bias, np.zeros_like(bias), reverse)

"""The gates of PyTorch's recurrent weights, and the shapes that they give them.

Layout (torch/nn/modules/rnn.py, 1.0.0 to 2.13.0): the gates of a unit lie in blocks of H rows, `weight_ih` (G*H, I),
`weight_hh` (G*H, P), `bias_ih` and `bias_hh` (G*H,); an nn.GRU has r, z, n, an nn.LSTM i, f, g, o. Its GRU resets the
recurrent half of n after the product, bias and all: both biases count. An nn.LSTM with `proj_size` P (1.8.0 to 2.13.0)
has `weight_hr` (P, H) beside them; without it P = H.
"""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import GATES, Array, CellKind, Gating, Layer, reorder

ORDERS: dict[CellKind, str] = {"rnn": "h", "gru": "rzn", "lstm": "ifgo"}
"""The blocks of rows, from the top."""

KINDS: dict[int, CellKind] = {len(order): cell for cell, order in ORDERS.items()}
"""The cell by the number of its blocks."""


def apart(stacked: Array, cell: CellKind) -> Array:
    """(G*H, ...) as PyTorch stacks the gates to (G, H, ...) in the canonical order."""
    gates = stacked.reshape(len(ORDERS[cell]), -1, *stacked.shape[1:])
    return reorder(gates, ORDERS[cell], GATES[cell])


def stacked(gates: Array, cell: CellKind) -> Array:
    """(G, H, ...) in the canonical order to (G*H, ...) as PyTorch stacks the gates."""
    ordered = reorder(gates, GATES[cell], ORDERS[cell])
    return ordered.reshape(-1, *gates.shape[2:])


def turned(matrices: Array) -> Array:
    """(G, A, B) to (G, B, A): samples are rows here, and columns in PyTorch."""
    return np.swapaxes(matrices, 1, 2)


def beyond(layer: Layer) -> str:
    """Why no nn.GRU or nn.LSTM can compute `layer`, whose cells are gated; empty where one can."""
    gating, own = layer.gating, f"nn.{layer.cell.upper()}"
    activations = {"activation": layer.activation, "output activation": gating.output or layer.activation}
    for what, name in activations.items():
        if name != "tanh":
            return f"has the {what} {name}, and {own} has tanh only"
    if gating.activation != "sigmoid":
        return f"has gates of the activation {gating.activation}, and {own} has the sigmoid only"
    if layer.cell == "gru" and not gating.reset_after:
        return f"resets the state before the recurrent product, and {own} resets after it"
    if layer.cell == "lstm" and gating.cell_clip:
        return f"clips its cell state at {gating.cell_clip:g}, and {own} does not"
    if any(direction.peephole is not None for direction in layer.directions):
        return f"has peepholes, and {own} has none"
    return ""


STANDARD = Gating()
"""How every nn.GRU and nn.LSTM computes: sigmoid gates, the reset after the product, tanh of the cell state."""

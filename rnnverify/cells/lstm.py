"""Long short-term memory, with v = x W + b_ih + h U + b_hh of each gate:

    i = s(v_i + p_i * c)      f = s(v_f + p_f * c)      g = act(v_g)

    c' = f * c + i * g        o = s(v_o + p_o * c')     h' = (o * out(c')) M

The peepholes p, the projection M and a clip of c' are there where the file has them. A forget bias that is added at run
time is part of b_hh; one that is added to f itself is a mistake, known by behaviour only. Coupled gates are two gates
with opposite weights: 1 - s(v) = s(-v).
"""

from __future__ import annotations

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array, Direction, Layer
from rnnverify.cells.recurrence import Recurrence, State, side_by_side


def recurrence(layer: Layer, direction: Direction) -> Recurrence:
    """The step of `direction`."""
    kernel, recurrent_kernel = side_by_side(direction.kernel), side_by_side(direction.recurrent_kernel)
    peephole = None if direction.peephole is None else direction.peephole.astype(np.float64)
    projection = None if direction.projection is None else direction.projection.astype(np.float64)
    return formula(layer, kernel, recurrent_kernel, side_by_side(direction.bias), peephole, projection)


def formula(
    layer: Layer,
    kernel: Array,
    recurrent_kernel: Array,
    bias: Array,
    peephole: Array | None = None,
    projection: Array | None = None,
) -> Recurrence:
    """The step with weights (..., I, 4 H), (..., P, 4 H) and a bias (..., 4 H), float64, their gates side by side.

    States and inputs are (..., B, P), (..., B, H) and (..., B, I) then; of several directions biases are (..., 1, 4 H)
    and peepholes (3, ..., 1, H), and the projections (..., H, P).
    """
    gating = layer.gating
    act, gate = activation(layer.activation), activation(gating.activation)
    out = activation(gating.output or layer.activation)
    H = kernel.shape[-1] // 4

    def step(projected: Array, state: State) -> State:
        h, c = state
        v = projected + h @ recurrent_kernel
        v_i, v_f, v_g, v_o = (v[..., k * H : (k + 1) * H] for k in range(4))
        if peephole is not None:
            v_i, v_f = v_i + peephole[0] * c, v_f + peephole[1] * c
        c = (gate(v_f) + gating.forget_added) * c + gate(v_i) * act(v_g)
        if gating.cell_clip:
            c = np.clip(c, -gating.cell_clip, gating.cell_clip)
        if peephole is not None:
            v_o = v_o + peephole[2] * c
        h = gate(v_o) * out(c)
        return (h if projection is None else h @ projection, c)

    return Recurrence(lambda x: x @ kernel + bias, step)

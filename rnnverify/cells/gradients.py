"""Back-propagation through time, cell by cell: from the gradient of every state to that of every input.

x (B, T, I), h (B, T, P) and gradients are in the order of processing, and start from zero states; all float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnnverify.activations import activation, slope
from rnnverify.canonical import Array, CellKind, Direction, Layer
from rnnverify.cells.recurrence import side_by_side

Backward = Callable[[Layer, Direction, Array, Array, Array], Array]


def through_time(layer: Layer, direction: Direction, x: Array, h: Array, gradient: Array) -> Array:
    """The gradient (B, T, I) with respect to x, for states h and the gradient (B, T, P) with respect to them."""
    return BACKWARD[layer.cell](layer, direction, x, h, gradient)


def _before(h: Array) -> Array:
    """The state that each step started from."""
    return np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)


def _rnn(layer: Layer, direction: Direction, x: Array, h: Array, gradient: Array) -> Array:
    kernel, recurrent = (w[0].astype(np.float64) for w in (direction.kernel, direction.recurrent_kernel))
    steep = slope(layer.activation)(x @ kernel + _before(h) @ recurrent + direction.bias[0])
    reached = np.empty_like(h)  # of the pre-activation of each step
    carried = np.zeros_like(h[:, 0])
    for t in range(h.shape[1] - 1, -1, -1):
        reached[:, t] = (gradient[:, t] + carried) * steep[:, t]
        carried = reached[:, t] @ recurrent.T
    return np.asarray(reached @ kernel.T)


def _gru(layer: Layer, direction: Direction, x: Array, h: Array, gradient: Array) -> Array:
    H = direction.hidden_size
    W, U = side_by_side(direction.kernel), side_by_side(direction.recurrent_kernel)
    U_gates, U_new = U[:, : 2 * H], U[:, 2 * H :]
    before = _before(h)
    v = x @ W[:, : 2 * H] + before @ U_gates + side_by_side(direction.bias[:2])
    gates, steep = activation(layer.gating.activation)(v), slope(layer.gating.activation)(v)
    r, z = gates[..., :H], gates[..., H:]
    bias_input, bias_recurrent = direction.bias_input[2], direction.bias_recurrent[2]
    after = layer.gating.reset_after
    inner = before @ U_new + bias_recurrent  # what the reset gate lets through, where it comes after the product
    reset = r * inner if after else (r * before) @ U_new + bias_recurrent
    v_n = x @ W[:, 2 * H :] + bias_input + reset
    n, steep_n = activation(layer.activation)(v_n), slope(layer.activation)(v_n)
    reached = np.empty((*h.shape[:2], 3 * H))
    carried = np.zeros_like(h[:, 0])
    for t in range(h.shape[1] - 1, -1, -1):
        g = gradient[:, t] + carried
        d_n = g * (1 - z[:, t]) * steep_n[:, t]
        d_z = g * (before[:, t] - n[:, t]) * steep[:, t, H:]
        let = (d_n * r[:, t]) @ U_new.T if after else d_n @ U_new.T * r[:, t]
        d_r = d_n * inner[:, t] if after else d_n @ U_new.T * before[:, t]
        d_gates = np.concatenate([d_r * steep[:, t, :H], d_z], axis=1)
        reached[:, t] = np.concatenate([d_gates, d_n], axis=1)
        carried = g * z[:, t] + let + d_gates @ U_gates.T
    return np.asarray(reached @ W.T)


def _lstm(layer: Layer, direction: Direction, x: Array, h: Array, gradient: Array) -> Array:
    H, gating = direction.hidden_size, layer.gating
    W, U = side_by_side(direction.kernel), side_by_side(direction.recurrent_kernel)
    names = (gating.activation, gating.activation, layer.activation, gating.activation)
    out = gating.output or layer.activation
    peephole = np.zeros((3, H)) if direction.peephole is None else direction.peephole.astype(np.float64)
    M = np.eye(H) if direction.projection is None else direction.projection.astype(np.float64)
    v = x @ W + _before(h) @ U + side_by_side(direction.bias)
    parts = [v[..., k * H : (k + 1) * H] for k in range(4)]  # i, f, g, o
    T, c = h.shape[1], np.zeros((h.shape[0], H))
    cells = np.zeros((h.shape[0], T + 1, H))
    for t in range(T):
        parts[0][:, t] += peephole[0] * c
        parts[1][:, t] += peephole[1] * c
        i, f, g = (activation(names[k])(parts[k][:, t]) for k in range(3))
        c = f * c + i * g
        c = np.clip(c, -gating.cell_clip, gating.cell_clip) if gating.cell_clip else c
        cells[:, t + 1] = c
    parts[3] += peephole[2] * cells[:, 1:]
    i, f, g, o = (activation(name)(part) for name, part in zip(names, parts, strict=True))
    steep_i, steep_f, steep_g, steep_o = (slope(name)(part) for name, part in zip(names, parts, strict=True))
    shown, steep_out = activation(out)(cells[:, 1:]), slope(out)(cells[:, 1:])
    free = np.abs(cells[:, 1:]) < gating.cell_clip if gating.cell_clip else np.ones_like(shown)
    reached = np.empty((*h.shape[:2], 4 * H))
    carried, carried_c = np.zeros_like(h[:, 0]), np.zeros_like(cells[:, 0])
    for t in range(T - 1, -1, -1):
        d_m = (gradient[:, t] + carried) @ M.T
        d_o = d_m * shown[:, t] * steep_o[:, t]
        d_c = (carried_c + d_m * o[:, t] * steep_out[:, t] + d_o * peephole[2]) * free[:, t]
        d_i, d_f = d_c * g[:, t] * steep_i[:, t], d_c * cells[:, t] * steep_f[:, t]
        reached[:, t] = np.concatenate([d_i, d_f, d_c * i[:, t] * steep_g[:, t], d_o], axis=1)
        carried = reached[:, t] @ U.T
        carried_c = d_c * f[:, t] + d_i * peephole[0] + d_f * peephole[1]
    return np.asarray(reached @ W.T)


BACKWARD: dict[CellKind, Backward] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}

"""What rounding may do to one step of a GRU, from its recorded state before.

Every gate is known to within phi (`enclosure.Activation`). Of the candidate, with a = x W + b_ih and v = h U + b_hh,

    n = act(a + r v)    off by  reach(|x||W| + |b_ih| + (r + phi_r)|v|) + (r + phi_r) reach(|h||U| + |b_hh|) + |v| phi_r

where the reset comes after the product, as a framework may add in any order; where it comes before, r h is a term like
any other, known to within phi_r |h|. And h' = z h + (1 - z) n is off by

    |1 - z| + phi_z  times  phi_n,  |h - n| phi_z,  and the roundings of its four operations, however it is written
"""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import Array, Direction, Layer
from rnnverify.cells.enclosure import Activation, Bounded, Product, operation, reach
from rnnverify.cells.recurrence import side_by_side
from rnnverify.precision import UNIT_ROUNDOFF, smallest
from rnnverify.step import Allowed, ratio

_OPERATIONS = 5  # one more than there are
_RESET_UNITS = 2.0
"""Units roundoff that a reset gate may be off beyond other sigmoids: onnxruntime 1.32 computes it by a function
of its own, which is off by 5.05 (measured over dense grids of float32, at -19.7 the most, where it is negative)."""


class GruStep:
    """The step of one direction, and how far rounding may carry a state from it."""

    def __init__(
        self, layer: Layer, direction: Direction, bias_magnitude: Array, dtype: str, allowed: Allowed | None
    ) -> None:
        H = direction.hidden_size
        self._I, self._H, self._dtype = direction.input_size, H, dtype
        self._reset_after = layer.gating.reset_after
        self._act = Activation(layer.activation, dtype, allowed)
        self._gate = Activation(layer.gating.activation, dtype, allowed)
        more = layer.gating.activation == "sigmoid" and allowed is None
        self._reset_error = _RESET_UNITS * UNIT_ROUNDOFF[dtype] if more else 0.0
        kernel, recurrent = side_by_side(direction.kernel), side_by_side(direction.recurrent_kernel)
        gates = np.concatenate([kernel[:, : 2 * H], recurrent[:, : 2 * H]])
        self._gates, self._gates_bias = Product(gates, dtype), side_by_side(direction.bias[:2])
        self._gates_size = side_by_side(bias_magnitude[:2])
        self._input, self._recurrent = Product(kernel[:, 2 * H :], dtype), Product(recurrent[:, 2 * H :], dtype)
        self._bias = direction.bias_input[2].astype(np.float64)
        self._bias_recurrent = direction.bias_recurrent[2].astype(np.float64)
        self._bias_size = bias_magnitude[2]

    def judge(self, terms: Array, h: Array) -> tuple[Array, Array, Array]:
        """For h (b, t, H) after terms (b, t, I+H): the share of the budget used, where h is beyond it, its error."""
        exact, allowed = self.enclosed(terms)
        distance = np.abs(h - exact)
        return ratio(distance, allowed), ~(distance <= allowed), distance

    def enclosed(self, terms: Array) -> Bounded:
        """h of every step (b, t, H) after terms (b, t, I+H), and how far a computed one may lie from it."""
        exact, allowed = self._step(terms.reshape(-1, terms.shape[2]))
        shape = (*terms.shape[:2], -1)
        return exact.reshape(shape), allowed.reshape(shape)

    def _step(self, rows: Array) -> Bounded:
        x, h = rows[:, : self._I], rows[:, self._I :]
        count = np.count_nonzero(rows, axis=1)[:, None] + 2
        sizes = self._gates.sizes(rows) + self._gates_size
        gate, phi = self._gate(self._gates(rows) + self._gates_bias, reach(sizes, count, self._dtype))
        r, z = gate[:, : self._H], gate[:, self._H :]
        phi_r, phi_z = phi[:, : self._H] + self._reset_error, phi[:, self._H :]
        candidate = self._after if self._reset_after else self._before
        n, phi_n = self._act(*candidate(x, h, r, phi_r))
        exact = z * h + (1 - z) * n
        u = operation(self._dtype)
        rounded = _OPERATIONS * u * np.maximum(1, np.abs(z) + phi_z) * (np.abs(h) + np.abs(n) + phi_n)
        rounded += _OPERATIONS * smallest(self._dtype)  # what underflow may take
        return exact, (np.abs(1 - z) + phi_z) * phi_n + np.abs(h - n) * phi_z + rounded

    def _after(self, x: Array, h: Array, r: Array, phi_r: Array) -> Bounded:
        v = self._recurrent(h) + self._bias_recurrent
        most = np.abs(r) + phi_r
        inner = np.count_nonzero(h, axis=1)[:, None] + 1
        off = most * reach(self._recurrent.sizes(h) + np.abs(self._bias_recurrent), inner, self._dtype)
        outer = np.count_nonzero(x, axis=1)[:, None] + 3  # r v is one term, rounded once before
        sizes = self._input.sizes(x) + np.abs(self._bias) + most * np.abs(v) + off
        return self._input(x) + self._bias + r * v, reach(sizes, outer, self._dtype) + off + np.abs(v) * phi_r

    def _before(self, x: Array, h: Array, r: Array, phi_r: Array) -> Bounded:
        bias = self._bias + self._bias_recurrent
        count = np.count_nonzero(x, axis=1)[:, None] + np.count_nonzero(h, axis=1)[:, None] + 3
        wide = phi_r * np.abs(h)
        sizes = self._input.sizes(x) + self._recurrent.sizes(np.abs(r * h) + wide) + self._bias_size
        off = self._recurrent.sizes(wide)
        return self._input(x) + bias + self._recurrent(r * h), reach(sizes, count, self._dtype) + off

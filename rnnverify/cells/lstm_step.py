"""What rounding may do to one step of an LSTM, from its recorded state before.

The cell state is not recorded: it is followed in float64 from the recorded h, which every gate reads, and what a
framework holds is known to within e. With phi of each gate (`enclosure.Activation`) and u the unit roundoff,

    c' = f c + i g    e' = (f + phi_f) e + |c| phi_f + (|g| + phi_g) phi_i + i phi_g + 3u (sizes of both products)
    h' = o out(c')    off by  (o + phi_o) phi_out + |out(c')| phi_o + 2u |h'|,   phi_out of out within e' of c'

As f is at most about 1 and h is read anew at each step, e grows no faster than with the number of steps.
"""

from __future__ import annotations

import numpy as np

from rnnverify.canonical import Array
from rnnverify.cells.enclosure import Activation, Bounded, Product, reach
from rnnverify.cells.recurrence import side_by_side
from rnnverify.precision import UNIT_ROUNDOFF, smallest
from rnnverify.recorded import Steps
from rnnverify.step import Allowed, ratio


class LstmStep:
    """The steps of one direction, judged one block after another, and how far rounding may carry a state."""

    def __init__(self, steps: Steps, bias_magnitude: Array, dtype: str, allowed: Allowed | None) -> None:
        layer, direction = steps.layer, steps.direction
        self._H, self._dtype, self._u = direction.hidden_size, dtype, UNIT_ROUNDOFF[dtype]
        self._clip = layer.gating.cell_clip
        self._act, self._gate, self._out = (
            Activation(name, dtype, allowed)
            for name in (layer.activation, layer.gating.activation, layer.gating.output or layer.activation)
        )
        weights = np.concatenate([side_by_side(direction.kernel), side_by_side(direction.recurrent_kernel)])
        self._product, self._bias = Product(weights, dtype), side_by_side(direction.bias)
        self._bias_size = side_by_side(bias_magnitude)
        self._peephole = np.zeros((3, 1)) if direction.peephole is None else direction.peephole.astype(np.float64)
        self._looks = direction.peephole is not None
        M = direction.projection
        self._projection = None if M is None else Product(M.astype(np.float64), dtype)
        c0 = np.zeros((len(steps.h), self._H)) if steps.c0 is None else np.asarray(steps.c0, np.float64)
        self.cell: Bounded = (c0, np.zeros(c0.shape))
        """(B, H): the cell state after the last step that was judged."""

    def judge(self, terms: Array, h: Array) -> tuple[Array, Array, Array]:
        """For h (b, t, P) after terms (b, t, I+P): the share of the budget used, where h is beyond it, its error."""
        rows = terms.reshape(-1, terms.shape[2])
        shape = (*h.shape[:2], -1)
        count = (np.count_nonzero(terms, axis=2) + 2 + self._looks)[..., None]
        z = (self._product(rows) + self._bias).reshape(shape)
        sizes = (self._product.sizes(rows) + self._bias_size).reshape(shape)
        exact, allowed = self._through(z, sizes, count)
        distance = np.abs(h - exact)
        return ratio(distance, allowed), ~(distance <= allowed), distance

    def _through(self, z: Array, sizes: Array, count: Array) -> Bounded:
        """h of every step (b, t, P), from what its gates read of x and h (b, t, 4H)."""
        i, f, g, o = (slice(k * self._H, (k + 1) * self._H) for k in range(4))
        off = reach(sizes, count, self._dtype)
        candidate = self._act(z[..., g], off[..., g])
        gates = None if self._looks else self._gate(z, off)
        cells, widths = (np.empty_like(z[..., g]) for _ in range(2))
        for t in range(z.shape[1]):
            if gates:
                let_in, kept = ((gates[0][:, t, k], gates[1][:, t, k]) for k in (i, f))
            else:
                let_in, kept = (self._peeping(n, z[:, t, k], sizes[:, t, k], count[:, t]) for n, k in enumerate((i, f)))
            self._advance(let_in, kept, (candidate[0][:, t], candidate[1][:, t]))
            cells[:, t], widths[:, t] = self.cell
        opened = (
            (gates[0][..., o], gates[1][..., o])
            if gates
            else self._peeping(2, z[..., o], sizes[..., o], count, (cells, widths))
        )
        return self._emitted(opened, self._out(cells, widths))

    def _peeping(self, gate: int, z: Array, sizes: Array, count: Array, cell: Bounded | None = None) -> Bounded:
        """A gate that looks at the cell state, too."""
        c, e = cell or self.cell
        weight = self._peephole[gate]
        off = reach(sizes + np.abs(weight) * (np.abs(c) + e), count, self._dtype)
        return self._gate(z + weight * c, off + np.abs(weight) * e)

    def _advance(self, i: Bounded, f: Bounded, g: Bounded) -> None:
        (c, e), (i_, phi_i), (f_, phi_f), (g_, phi_g) = self.cell, i, f, g
        kept, added = np.abs(f_) + phi_f, np.abs(i_) + phi_i
        rounded = 3 * self._u * (kept * (np.abs(c) + e) + added * (np.abs(g_) + phi_g))
        rounded += 3 * smallest(self._dtype)  # what underflow may take
        e = kept * e + np.abs(c) * phi_f + (np.abs(g_) + phi_g) * phi_i + np.abs(i_) * phi_g + rounded
        c = f_ * c + i_ * g_
        self.cell = (np.clip(c, -self._clip, self._clip) if self._clip else c, e)

    def _emitted(self, o: Bounded, out: Bounded) -> Bounded:
        """h = o out(c), projected where it is."""
        (o_, phi_o), (out_, phi_out) = o, out
        exact = o_ * out_
        most = (np.abs(o_) + phi_o) * (np.abs(out_) + phi_out)
        allowed = (np.abs(o_) + phi_o) * phi_out + np.abs(out_) * phi_o + 2 * (self._u * most + smallest(self._dtype))
        if self._projection is None:
            return exact, allowed
        shape = (*exact.shape[:2], -1)
        rows, wide = exact.reshape(-1, self._H), allowed.reshape(-1, self._H)
        off = reach(self._projection.sizes(np.abs(rows) + wide), np.full((len(rows), 1), self._H + 1), self._dtype)
        return self._projection(rows).reshape(shape), (off + self._projection.sizes(wide)).reshape(shape)

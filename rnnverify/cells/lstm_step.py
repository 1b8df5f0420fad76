"""What rounding may do to one step of an LSTM, from its recorded state before.

The cell state is not recorded: it is followed in float64 from the recorded h, which every gate reads, and what a
framework holds is known to within e. With phi of each gate (`enclosure.Activation`) and u the unit roundoff,

    c' = f c + i g    e' = (f + phi_f) e + |c| phi_f + (|g| + phi_g) phi_i + i phi_g + 3u (sizes of both products)
    h' = o out(c')    off by  (o + phi_o) phi_out + |out(c')| phi_o + 2u |h'|,   phi_out of out within e' of c'

As f is at most about 1 and h is read anew at each step, e grows no faster than with the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnnverify.canonical import Array, Direction, Layer
from rnnverify.cells.enclosure import Activation, Bounded, Product, operation, reach
from rnnverify.cells.recurrence import side_by_side
from rnnverify.precision import smallest
from rnnverify.step import Allowed, ratio

_NEARLY = 1 - 2.0**-24  # beyond it out cannot be turned back


class LstmStep:
    """The steps of one direction, judged one block after another, and how far rounding may carry a state."""

    def __init__(
        self, layer: Layer, direction: Direction, bias_magnitude: Array, dtype: str, allowed: Allowed | None
    ) -> None:
        self._H, self._dtype, self._u = direction.hidden_size, dtype, operation(dtype)
        self._clip, self._added = layer.gating.cell_clip, layer.gating.forget_added
        self._act, self._gate, self._out = (
            Activation(name, dtype, allowed)
            for name in (layer.activation, layer.gating.activation, layer.gating.output or layer.activation)
        )
        order = [0, 1, 3, 2]  # i, f, o beside each other, then g
        weights = np.concatenate([side_by_side(w[order]) for w in (direction.kernel, direction.recurrent_kernel)])
        self._product, self._bias = Product(weights, dtype), side_by_side(direction.bias[order])
        self._bias_size = side_by_side(bias_magnitude[order])
        self._peephole = np.zeros((3, 1)) if direction.peephole is None else direction.peephole.astype(np.float64)
        self._looks = direction.peephole is not None
        M = direction.projection
        self._projection = None if M is None else Product(M.astype(np.float64), dtype)
        self.begin(np.zeros((1, self._H)))

    def begin(self, c0: Array, off: Array | None = None) -> None:
        """What is judged next starts from the cell state c0 (B, H), or from one within `off` (B, H) of it."""
        self.cell: Bounded = (c0.astype(np.float64), np.zeros(c0.shape) if off is None else off)
        """(B, H): the cell state after the last step that was judged."""

    def judge(self, terms: Array, h: Array) -> tuple[Array, Array, Array]:
        """For h (b, t, P) after terms (b, t, I+P): the share of the budget used, where h is beyond it, its error."""
        exact, allowed = self.enclosed(terms)
        distance = np.abs(h - exact)
        return ratio(distance, allowed), ~(distance <= allowed), distance

    def enclosed(self, terms: Array) -> Bounded:
        """h of every step (b, t, P) after terms (b, t, I+P), and how far a computed one may lie from it."""
        rows = terms.reshape(-1, terms.shape[2])
        shape = (*terms.shape[:2], -1)
        count = (np.count_nonzero(terms, axis=2) + 2 + self._looks)[..., None]
        z = (self._product(rows) + self._bias).reshape(shape)
        sizes = (self._product.sizes(rows) + self._bias_size).reshape(shape)
        return self._through(z, sizes, count)

    def shown_cell(self, terms: Array, h: Array, inverse: Callable[[Array], Array]) -> Bounded:
        """The cell state (b, H) that h (b, H) shows, after one step with terms (b, I+H); `inverse` is that of out.

        How far it may be off is infinite where h is too near its bounds. There may be no peepholes and no projection.
        """
        rows, count = terms, (np.count_nonzero(terms, axis=1) + 2)[:, None]
        z, sizes = self._product(rows) + self._bias, self._product.sizes(rows) + self._bias_size
        o = slice(2 * self._H, 3 * self._H)
        opened, phi = self._gate(z[:, o], reach(sizes[:, o], count, self._dtype))
        emitted = h / opened
        _, rounded = self._out(inverse(np.clip(emitted, -_NEARLY, _NEARLY)), np.zeros(h.shape))
        off = (np.abs(emitted) * phi + (opened + phi) * rounded + 2 * self._u * np.abs(h)) / (opened - phi)
        middle, low, high = (inverse(emitted + way * off) for way in (0, -1, 1))
        wide = np.maximum(high - middle, middle - low)
        told = np.isfinite(wide) & (opened > phi)
        return np.where(told, middle, 0.0), np.where(told, wide, np.inf)

    def _through(self, z: Array, sizes: Array, count: Array) -> Bounded:
        """h of every step (b, t, P), from what its gates read of x and h (b, t, 4H)."""
        i, f, o, g = (slice(k * self._H, (k + 1) * self._H) for k in range(4))
        gates = slice(3 * self._H)
        candidate = self._act(z[..., g], reach(sizes[..., g], count, self._dtype))
        cells, widths = (np.empty(z[..., g].shape) for _ in range(2))
        if self._looks:
            for t in range(z.shape[1]):
                let_in, kept = (self._peeping(n, z[:, t, k], sizes[:, t, k], count[:, t]) for n, k in enumerate((i, f)))
                self._advance(*self._moves(let_in, self._kept(kept), (candidate[0][:, t], candidate[1][:, t])))
                cells[:, t], widths[:, t] = self.cell
            opened = self._peeping(2, z[..., o], sizes[..., o], count, (cells, widths))
        else:
            gate, phi = self._gate(z[..., gates], reach(sizes[..., gates], count, self._dtype))
            moves = self._moves((gate[..., i], phi[..., i]), self._kept((gate[..., f], phi[..., f])), candidate)
            for t in range(z.shape[1]):
                self._advance(*(part[:, t] for part in moves))
                cells[:, t], widths[:, t] = self.cell
            opened = gate[..., o], phi[..., o]
        return self._emitted(opened, self._out(cells, widths))

    def _peeping(self, gate: int, z: Array, sizes: Array, count: Array, cell: Bounded | None = None) -> Bounded:
        """A gate that looks at the cell state, too."""
        c, e = cell or self.cell
        weight = self._peephole[gate]
        off = reach(sizes + np.abs(weight) * (np.abs(c) + e), count, self._dtype)
        return self._gate(z + weight * c, off + np.abs(weight) * e)

    def _kept(self, f: Bounded) -> Bounded:
        """The forget gate with what is added to it."""
        if not self._added:
            return f
        kept = f[0] + self._added
        return kept, f[1] + self._u * (np.abs(kept) + f[1])

    def _moves(self, i: Bounded, f: Bounded, g: Bounded) -> tuple[Array, Array, Array, Array, Array]:
        """What takes one cell state and its width to the next, as `_advance` has them."""
        (i_, phi_i), (f_, phi_f), (g_, phi_g) = i, f, g
        kept, new = np.abs(f_) + phi_f, np.abs(g_) + phi_g
        rounded = 3 * self._u * (np.abs(i_) + phi_i) * new + 3 * smallest(self._dtype)  # and what underflow may take
        return (
            f_,
            i_ * g_,
            kept * (1 + 3 * self._u),
            phi_f + 3 * self._u * kept,
            new * phi_i + np.abs(i_) * phi_g + rounded,
        )

    def _advance(self, f: Array, added: Array, widened: Array, loosened: Array, fresh: Array) -> None:
        c, e = self.cell
        e = widened * e + np.abs(c) * loosened + fresh
        c = f * c + added
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

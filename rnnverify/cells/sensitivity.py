"""What each weight of a gated cell moves: every step from its recorded state before, and its slopes.

A weight adds to one sum v of one unit, and the sum moves h of that step: by `gain` alone, by way of the cell state of
an LSTM, which carries it on to all later steps, or through a matrix to all units. To first order, for v_j off by dv,

    dc_t = keep_t dc_(t-1) + gain_t dv_t      dh_t = emit_t dc_t             by way of a cell state
    dm_t = gain_t dv_t                        dh_t = after_t * (dm_t mix_j)  through a row of a matrix

The cell state is not recorded: it is followed from the recorded h, as `lstm_step` does. All float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.activations import activation, slope
from rnnverify.canonical import Array, CellKind, Direction, Layer


@dataclass(frozen=True)
class Channel:
    """The weights that add to one sum v of every unit, and how that moves h."""

    tensors: tuple[tuple[str, int], ...]  # of `Direction`, and how many of the R inputs each takes
    gate: int | None  # the row of those tensors; None: they have no gates
    inputs: Array  # (B, T, R): what the weights are multiplied with
    gain: Array  # (B, T, n): n units
    keep: Array | None = None  # (B, T, n): what a cell state keeps of a change
    emit: Array | None = None  # (B, T, n): how much of it comes out, with `keep`
    mix: Array | None = None  # (n, P): through which it reaches every output; None: unit j is output j
    after: Array | None = None  # (B, T, P): behind `mix`

    def moved(self, row: int, unit: int) -> Array:
        """The change of h (B, T, P) for each unit that one weight is off by."""
        found = self.inputs[..., row] * self.gain[..., unit]
        if self.keep is not None and self.emit is not None:
            for t in range(1, found.shape[1]):
                found[:, t] += self.keep[:, t, unit] * found[:, t - 1]
            found *= self.emit[..., unit]
        if self.mix is None:
            whole = np.zeros(self.gain.shape)
            whole[..., unit] = found
            return whole
        spread = found[..., None] * self.mix[unit]
        return np.asarray(spread if self.after is None else spread * self.after)

    def regressed(self, units: Array, residual: Array, weight: Array) -> tuple[Array, Array]:
        """sum(f y w) and sum(f f w) over all steps (R, units), for f of every weight, residuals y and weights w.

        `residual` y and `weight` w are (B, T, P).
        """
        moment, power = residual * weight, weight
        if self.mix is None:
            moment, power = moment[..., units], power[..., units]
        else:
            after = 1.0 if self.after is None else self.after
            moment, power = (moment * after) @ self.mix[units].T, (power * after**2) @ self.mix[units].T ** 2
        gain = self.gain[..., units]
        if self.keep is None or self.emit is None:
            rows = self.inputs.reshape(-1, self.inputs.shape[2])
            one, two = (array.reshape(len(rows), -1) for array in (gain * moment, gain**2 * power))
            return rows.T @ one, (rows**2).T @ two
        keep, emit = self.keep[..., units], self.emit[..., units]
        carried = np.zeros((len(gain), self.inputs.shape[2], len(units)))
        sums = np.zeros((2, *carried.shape[1:]))
        for t in range(gain.shape[1]):
            carried = keep[:, t, None] * carried + self.inputs[:, t, :, None] * gain[:, t, None]
            sums[0] += np.einsum("brj,bj->rj", carried, emit[:, t] * moment[:, t])
            sums[1] += np.einsum("brj,bj->rj", carried**2, emit[:, t] ** 2 * power[:, t])
        return sums[0], sums[1]

    def place(self, row: int, unit: int) -> tuple[str, tuple[int, ...]]:
        """The field of `Direction`, and the index in it, of one weight."""
        names = [(name, k) for name, count in self.tensors for k in range(count)]
        tensor, k = names[row]
        gate = () if self.gate is None else (self.gate,)
        return tensor, (*gate, unit) if tensor in _ONE_A_UNIT else (*gate, k, unit)


_ONE_A_UNIT = ("bias_input", "bias_recurrent", "peephole")

Sensitivity = tuple[Array, tuple[Channel, ...]]
"""h of every step (B, T, P) from the recorded h before, and every channel that leads to it."""


def sensitivity(layer: Layer, direction: Direction, x: Array, before: Array, c0: Array) -> Sensitivity:
    """Of every step of x (B, T, I) after `before` (B, T, P), in the order of processing; c0 (B, H) matters to LSTMs."""
    return SENSITIVITY[layer.cell](layer, direction, x, before, c0)


def _sums(direction: Direction, gate: int, x: Array, h: Array) -> Array:
    """x W + h U of one gate, without its biases."""
    return np.asarray(x @ direction.kernel[gate] + h @ direction.recurrent_kernel[gate])


def _both(gate: int, x: Array, h: Array, gain: Array) -> Channel:
    """A gate that reads x and h, with one bias: that of two the sum alone counts."""
    tensors = (("kernel", x.shape[2]), ("recurrent_kernel", h.shape[2]), ("bias_input", 1))
    return Channel(tensors, gate, np.concatenate([x, h, np.ones((*x.shape[:2], 1))], axis=2), gain)


def _half(gate: int, kernel: str, bias: str, terms: Array, gain: Array) -> Channel:
    """What a gate reads of x alone, or of h, with the bias that belongs to it."""
    inputs = np.concatenate([terms, np.ones((*terms.shape[:2], 1))], axis=2)
    return Channel(((kernel, terms.shape[2]), (bias, 1)), gate, inputs, gain)


def _gru(layer: Layer, direction: Direction, x: Array, before: Array, _: Array) -> Sensitivity:
    act, steep = activation(layer.activation), slope(layer.activation)
    gate, gate_steep = activation(layer.gating.activation), slope(layer.gating.activation)
    v_r, v_z = (_sums(direction, g, x, before) + direction.bias[g] for g in (0, 1))
    r, z = gate(v_r), gate(v_z)
    U = direction.recurrent_kernel[2]
    if layer.gating.reset_after:
        inner = before @ U + direction.bias_recurrent[2]
        v_n = x @ direction.kernel[2] + direction.bias_input[2] + r * inner
    else:
        v_n = _sums(direction, 2, x, r * before) + direction.bias[2]
    n, gain = act(v_n), (1 - z) * steep(v_n)
    candidate: tuple[Channel, ...]
    update = _both(1, x, before, (before - n) * gate_steep(v_z))
    if layer.gating.reset_after:
        reset = _both(0, x, before, gain * inner * gate_steep(v_r))
        candidate = (
            _half(2, "kernel", "bias_input", x, gain),
            _half(2, "recurrent_kernel", "bias_recurrent", before, gain * r),
        )
    else:
        reset = replace(_both(0, x, before, before * gate_steep(v_r)), mix=U, after=gain)
        candidate = (_both(2, x, r * before, gain),)
    return z * before + (1 - z) * n, (reset, update, *candidate)


def _lstm(layer: Layer, direction: Direction, x: Array, before: Array, c0: Array) -> Sensitivity:
    gating = layer.gating
    names = (gating.activation, gating.activation, layer.activation, gating.activation)
    out = gating.output or layer.activation
    v = [_sums(direction, g, x, before) + direction.bias[g] for g in range(4)]
    looks = direction.peephole if direction.peephole is not None else np.zeros((3, 1))
    cells = np.empty((x.shape[0], x.shape[1] + 1, direction.hidden_size))
    free = np.ones(v[0].shape, bool)
    cells[:, 0] = c0
    for t in range(x.shape[1]):
        c = cells[:, t]
        v[0][:, t] += looks[0] * c
        v[1][:, t] += looks[1] * c
        i, f, g = (activation(names[k])(v[k][:, t]) for k in range(3))
        c = f * c + i * g
        if gating.cell_clip:
            free[:, t] = np.abs(c) < gating.cell_clip
            c = np.clip(c, -gating.cell_clip, gating.cell_clip)
        cells[:, t + 1] = c
    earlier, c = cells[:, :-1], cells[:, 1:]
    v[3] += looks[2] * c
    i, f, g, o = (activation(name)(each) for name, each in zip(names, v, strict=True))
    steep = [slope(name)(each) for name, each in zip(names, v, strict=True)]
    gains = [g * steep[0], earlier * steep[1], i * steep[2], activation(out)(c) * steep[3]]
    keep = free * (f + looks[0] * gains[0] + looks[1] * gains[1])
    emit = o * slope(out)(c) + looks[2] * gains[3]
    m = o * activation(out)(c)
    plain = [_both(k, x, before, gains[k] if k == 3 else gains[k] * free) for k in range(4)]
    channels = [*(replace(channel, keep=keep, emit=emit) for channel in plain[:3]), plain[3]]
    if direction.peephole is not None:
        channels += _peepholes((channels[0], channels[1], channels[3]), (earlier, earlier, c))
    if direction.projection is None:
        return m, tuple(channels)
    M = direction.projection
    onto = Channel((("projection", len(M)),), None, m, np.ones((*m.shape[:2], M.shape[1])))
    return m @ M, (*(replace(channel, mix=M) for channel in channels), onto)


def _peepholes(gates: tuple[Channel, ...], seen: tuple[Array, ...]) -> Iterator[Channel]:
    """Each unit looks at its own cell state alone: what it sees is part of the gain."""
    for row, (channel, cells) in enumerate(zip(gates, seen, strict=True)):
        ones = np.ones((*cells.shape[:2], 1))
        yield replace(channel, tensors=(("peephole", 1),), gate=row, inputs=ones, gain=channel.gain * cells)


SENSITIVITY: dict[CellKind, Callable[[Layer, Direction, Array, Array, Array], Sensitivity]] = {
    "gru": _gru,
    "lstm": _lstm,
}

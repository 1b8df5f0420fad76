"""GRU and LSTM as frameworks compute them: in float32, in several orders of summation, one step after another."""

from collections.abc import Callable

import numpy as np

from rnnverify.canonical import Array, Direction, Layer
from rnnverify.trace import Batch, Run

Sums = Callable[[Array, Array, Direction, int], Array]
"""x (B, I), h (B, P), weights and the gate to its pre-activation (B, H), all float32."""


def separate(x: Array, h: Array, d: Direction, g: int) -> Array:
    """Two products, each with its bias."""
    return np.asarray((x @ d.kernel[g] + d.bias_input[g]) + (h @ d.recurrent_kernel[g] + d.bias_recurrent[g]))


def concatenated(x: Array, h: Array, d: Direction, g: int) -> Array:
    """One product over [x, h], the biases added up first."""
    rows, both = np.concatenate([x, h], axis=1), np.concatenate([d.kernel[g], d.recurrent_kernel[g]])
    return np.asarray(rows @ both + (d.bias_input[g] + d.bias_recurrent[g]))


def one_by_one(x: Array, h: Array, d: Direction, g: int) -> Array:
    """Term after term, from the biases on: the order with the largest errors."""
    total = np.broadcast_to(d.bias_input[g] + d.bias_recurrent[g], (len(x), d.hidden_size)).copy()
    for value, row in [*zip(x.T, d.kernel[g], strict=True), *zip(h.T, d.recurrent_kernel[g], strict=True)]:
        total += value[:, None] * row
    return np.asarray(total)


SUMS: tuple[Sums, ...] = (separate, concatenated, one_by_one)


def sigmoid(z: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-z)))


def gate_of(layer: Layer) -> Callable[[Array], Array]:
    if layer.gating.activation == "hard_sigmoid":
        return lambda z: np.clip(z / np.float32(6) + np.float32(0.5), np.float32(0), np.float32(1))
    assert layer.gating.activation == "sigmoid"
    return sigmoid


def gru(layer: Layer, sums: Sums, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    d, (h,), gate = layer.directions[0], states, gate_of(layer)
    r, z = gate(sums(x, h, d, 0)), gate(sums(x, h, d, 1))
    if layer.gating.reset_after:
        n = np.tanh((x @ d.kernel[2] + d.bias_input[2]) + r * (h @ d.recurrent_kernel[2] + d.bias_recurrent[2]))
        return (n + z * (h - n),)
    n = np.tanh(sums(x, r * h, d, 2))
    return (z * h + (1 - z) * n,)


def lstm(layer: Layer, sums: Sums, x: Array, states: tuple[Array, ...]) -> tuple[Array, ...]:
    d, (h, c), gate = layer.directions[0], states, gate_of(layer)
    v_i, v_f, v_g, v_o = (sums(x, h, d, g) for g in range(4))
    p = np.zeros((3, 1), np.float32) if d.peephole is None else d.peephole
    c = gate(v_f + p[1] * c) * c + gate(v_i + p[0] * c) * np.tanh(v_g)
    if layer.gating.cell_clip:
        c = np.clip(c, -np.float32(layer.gating.cell_clip), np.float32(layer.gating.cell_clip))
    h = gate(v_o + p[2] * c) * np.tanh(c)
    return (h if d.projection is None else h @ d.projection), c


def run(layer: Layer, sums: Sums, batch: Batch) -> Run:
    """What such a framework records of one layer that runs forward."""
    d, B = layer.directions[0], len(batch.x)
    step = gru if layer.cell == "gru" else lstm
    sizes = (d.state_size,) if layer.cell == "gru" else (d.state_size, d.hidden_size)
    states = batch.starts or tuple(np.zeros((B, size), np.float32) for size in sizes)
    outputs = []
    for t in range(batch.x.shape[1]):
        states = step(layer, sums, batch.x[:, t], states)
        outputs.append(states[0])
    y = np.stack(outputs, axis=1)
    assert y.dtype == np.float32
    return Run(batch, y, states[:1], (), states[1:])

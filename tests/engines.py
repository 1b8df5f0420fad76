"""Correct implementations of the recurrence in NumPy, that round every operation, each in its own order of summation.

split   x W for all steps at once, then h U; each with its own bias
fused   one product of [x, h] with the two kernels stacked; the biases added first, and rounded
naive   one term after the other, the biases first
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.trace import Batch, Run, Trace

Order = Literal["split", "fused", "naive"]
ORDERS: tuple[Order, ...] = ("split", "fused", "naive")
Step = Callable[[int, Array], Array]


def run(network: Network, batches: Iterable[Batch], order: Order, dtype: str = "float32") -> Trace:
    """What an engine that computes in `dtype` records: outputs, final states, and the states of every layer."""
    with np.errstate(over="ignore", under="ignore"):
        return Trace({batch.name: _run(network, batch, order, np.dtype(dtype)) for batch in batches})


def _run(network: Network, batch: Batch, order: Order, dtype: np.dtype[Any]) -> Run:
    x = batch.x.astype(dtype)
    starts, cells = iter(batch.h0 or ()), iter(batch.c0 or ())
    states: list[Array] = []
    finals: list[Array] = []
    final_cells: list[Array] = []
    for layer in network.layers:
        parts = []
        for d in layer.directions:
            h0 = next(starts, np.zeros((x.shape[0], d.state_size))).astype(dtype)
            seen = x[:, ::-1] if d.reverse else x
            if layer.cell == "rnn":
                processed = _direction(layer, d, seen, h0, order)
            else:
                c0 = next(cells, None) if layer.cell == "lstm" else None
                c = np.zeros((x.shape[0], d.hidden_size), dtype) if c0 is None else c0.astype(dtype)
                processed, last = _gated(layer, d, seen, h0, c, order)
                final_cells += [last] * (layer.cell == "lstm")
            finals.append(processed[:, -1])
            parts.append(processed[:, ::-1] if d.reverse and layer.time_restored else processed)
        states += parts
        x = parts[0] if len(parts) == 1 else _merged(layer, *parts)
    return Run(batch, x, tuple(finals), tuple(states) if len(states) > 1 else (), tuple(final_cells))


def _direction(layer: Layer, d: Direction, x: Array, h: Array, order: Order) -> Array:
    """x (B, T, I) and h (B, H) to the states (B, T, H), in the order of processing."""
    step = {"split": _split, "fused": _fused, "naive": _naive}[order](d, x)
    act = activation(layer.activation)
    y = np.empty((*x.shape[:2], d.hidden_size), x.dtype)
    for t in range(x.shape[1]):
        h = act(step(t, h)).astype(x.dtype)
        y[:, t] = h
    return y


def _gated(layer: Layer, d: Direction, x: Array, h: Array, c: Array, order: Order) -> tuple[Array, Array]:
    """The same of a cell with gates; and the last cell state of an LSTM."""
    act, gate = activation(layer.activation), activation(layer.gating.activation)
    out = activation(layer.gating.output or layer.activation)
    y = np.empty((*x.shape[:2], d.state_size), x.dtype)
    whole = [_one_gate(d, k) for k in range(len(d.kernel))]
    steps = [{"split": _split, "fused": _fused, "naive": _naive}[order](each, x) for each in whole]

    def rounded(z: Array) -> Array:
        return z.astype(x.dtype)

    for t in range(x.shape[1]):
        if layer.cell == "gru":
            r, z = (rounded(gate(steps[k](t, h))) for k in range(2))
            if layer.gating.reset_after:
                q = h @ rounded(whole[2].recurrent_kernel[0]) + rounded(whole[2].bias_recurrent[0])
                p = x[:, t] @ rounded(whole[2].kernel[0]) + rounded(whole[2].bias_input[0])
                n = rounded(act(p + r * q))
            else:
                n = rounded(act(steps[2](t, r * h)))
            h = z * h + (1 - z) * n if order == "split" else n + z * (h - n)
        else:
            v_i, v_f, v_g, v_o = (step(t, h) for step in steps)
            peep = np.zeros((3, 1), x.dtype) if d.peephole is None else rounded(d.peephole)
            c = rounded(gate(v_f + peep[1] * c)) * c + rounded(gate(v_i + peep[0] * c)) * rounded(act(v_g))
            if layer.gating.cell_clip:
                c = np.clip(c, -x.dtype.type(layer.gating.cell_clip), x.dtype.type(layer.gating.cell_clip))
            h = rounded(gate(v_o + peep[2] * c)) * rounded(out(c))
            h = h if d.projection is None else h @ rounded(d.projection)
        y[:, t] = h
    return y, c


def _one_gate(d: Direction, k: int) -> Direction:
    W, U, b_ih, b_hh = (w[k : k + 1] for w in (d.kernel, d.recurrent_kernel, d.bias_input, d.bias_recurrent))
    return Direction(W, U, b_ih, b_hh, projection=d.projection)


def _arrays(d: Direction, dtype: np.dtype[Any]) -> list[Array]:
    return [array[0].astype(dtype) for array in (d.kernel, d.recurrent_kernel, d.bias_input, d.bias_recurrent)]


def _split(d: Direction, x: Array) -> Step:
    W, U, b_ih, b_hh = _arrays(d, x.dtype)
    projected = (x.reshape(-1, x.shape[2]) @ W).reshape(*x.shape[:2], -1) + b_ih
    return lambda t, h: projected[:, t] + (h @ U + b_hh)


def _fused(d: Direction, x: Array) -> Step:
    W, U, b_ih, b_hh = _arrays(d, x.dtype)
    kernel, bias = np.concatenate([W, U]), b_ih + b_hh
    return lambda t, h: np.concatenate([x[:, t], h], axis=1) @ kernel + bias


def _naive(d: Direction, x: Array) -> Step:
    W, U, b_ih, b_hh = _arrays(d, x.dtype)
    kernel = np.concatenate([W, U])

    def step(t: int, h: Array) -> Array:
        z = np.broadcast_to(b_ih + b_hh, (len(h), kernel.shape[1]))
        for k, column in enumerate(np.concatenate([x[:, t], h], axis=1).T):
            z = z + column[:, None] * kernel[k]
        return z

    return step


def _merged(layer: Layer, forward: Array, reverse: Array) -> Array:
    if layer.merge == "concat":
        return np.concatenate([forward, reverse], axis=2)
    if layer.merge == "mul":
        return forward * reverse
    total = forward + reverse
    return total if layer.merge == "sum" else total * np.asarray(0.5, total.dtype)

"""The recurrence itself, in float64 NumPy: what every framework should have computed.

One step function for each cell formula. Blocks of time keep the projected inputs in cache, and memory independent of T.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from rnnverify.activations import activation as activation_of
from rnnverify.arrays import release
from rnnverify.canonical import Array, Direction, Layer, Merge, Network
from rnnverify.trace import Batch, Run, Trace

BLOCK = 128  # steps
_IN_MEMORY = 2**26  # bytes; larger outputs are kept in a file

Activation = Callable[[Array], Array]


def run(network: Network, batches: Iterable[Batch]) -> Trace:
    """Run `network` in float64 on every batch: x (B, T, I) to y (B, T, F) and final states (B, H)."""
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging network is a result, and reported as such
        runs = {batch.name: _run_batch(network, batch) for batch in batches}
    return Trace(runs, {"engine": "reference"})


def _run_batch(network: Network, batch: Batch) -> Run:
    outputs: Array = batch.x
    finals: list[Array] = []
    states: list[Array] = []
    h0 = iter(batch.h0 or ())
    for layer in network.layers:
        first = [_initial(direction, outputs.shape[0], next(h0, None)) for direction in layer.directions]
        parts, last = run_layer(layer, outputs, first)
        outputs = parts[0] if len(parts) == 1 else merge(layer.merge, parts)
        finals += last
        states += parts
    return Run(batch, outputs, tuple(finals), tuple(states) if len(states) > 1 else ())


def _initial(direction: Direction, B: int, h0: Array | None) -> Array:
    return np.zeros((B, direction.hidden_size)) if h0 is None else h0.astype(np.float64)


def run_layer(layer: Layer, x: Array, h0: list[Array]) -> tuple[list[Array], list[Array]]:
    """One layer on x (B, T, I) from h0; for each direction its states as emitted (B, T, H), and the last (B, H)."""
    activation = activation_of(layer.activation)
    parts, finals = [], []
    for direction, h in zip(layer.directions, h0, strict=True):
        y = allocate((x.shape[0], x.shape[1], layer.hidden_size))
        seen = x[:, ::-1] if direction.reverse else x
        written = y[:, ::-1] if direction.reverse and layer.time_restored else y
        finals.append(_run_direction(direction, activation, seen, h, written))
        parts.append(y)
    return parts, finals


def _run_direction(direction: Direction, activation: Activation, x: Array, h: Array, y: Array) -> Array:
    """Fill y (B, T, H) from x (B, T, I), both in processing order; returns the last state (B, H)."""
    kernel = direction.kernel[0].astype(np.float64)
    recurrent = direction.recurrent_kernel[0].astype(np.float64)
    bias = direction.bias[0]
    for start in range(0, x.shape[1], BLOCK):
        block = x[:, start : start + BLOCK].astype(np.float64)
        projected = block @ kernel + bias  # (B, t, H): one product for all steps of the block
        for t in range(block.shape[1]):
            h = rnn_step(activation, projected[:, t], h, recurrent)
            y[:, start + t] = h
        release(x)
        release(y)
    return h


def rnn_step(activation: Activation, projected: Array, h: Array, recurrent_kernel: Array) -> Array:
    """h' = act(x W + b + h U), with x W + b (B, H) given."""
    return activation(projected + h @ recurrent_kernel)


def merge(how: Merge, parts: list[Array]) -> Array:
    """Forward and reverse outputs (B, T, H) as one, the way Keras Bidirectional names it."""
    forward, reverse = parts
    H = forward.shape[2]
    out = allocate((*forward.shape[:2], 2 * H if how == "concat" else H))
    if how == "concat":
        out[..., :H], out[..., H:] = forward, reverse
    elif how == "mul":
        np.multiply(forward, reverse, out=out)
    else:
        np.add(forward, reverse, out=out)
        if how == "ave":
            out *= 0.5
    return out


def allocate(shape: tuple[int, ...]) -> Array:
    """Zeros (float64), in a nameless temporary file where they would not sit well in memory."""
    if np.prod(shape) * 8 <= _IN_MEMORY:
        return np.zeros(shape)
    with tempfile.TemporaryFile(dir=Path(tempfile.gettempdir())) as file:
        return np.memmap(file, np.float64, "w+", shape=shape)

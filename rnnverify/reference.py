"""The recurrence itself, in float64 NumPy: what every framework should have computed.

`cells/` has the step of each kind. Blocks of time keep the projected inputs in cache, and memory independent of T.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from rnnverify.arrays import release
from rnnverify.canonical import Array, Layer, Merge, Network
from rnnverify.cells import Recurrence, State, recurrence
from rnnverify.trace import Batch, Run, Trace

BLOCK = 128  # steps
_IN_MEMORY = 2**26  # bytes; larger outputs are kept in a file


def run(network: Network, batches: Iterable[Batch]) -> Trace:
    """Run `network` in float64 on every batch: x (B, T, I) to y (B, T, F) and final states (B, H)."""
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging network is a result, and reported as such
        runs = {batch.name: _run_batch(network, batch) for batch in batches}
    return Trace(runs, {"engine": "reference"})


def _run_batch(network: Network, batch: Batch) -> Run:
    outputs: Array = batch.x
    finals: list[State] = []
    states: list[Array] = []
    starts = initial_states(network, batch)
    for layer in network.layers:
        parts, last = run_layer(layer, outputs, [next(starts) for _ in layer.directions])
        outputs = parts[0] if len(parts) == 1 else merge(layer.merge, parts)
        finals += last
        states += parts
    shown = tuple(states) if len(states) > 1 else ()
    return Run(batch, outputs, tuple(s[0] for s in finals), shown, tuple(s[1] for s in finals if len(s) > 1))


def initial_states(network: Network, batch: Batch) -> Iterator[State]:
    """What each direction starts from, float64: zeros where `batch` does not say."""
    h0, c0 = iter(batch.h0 or ()), iter(batch.c0 or ())
    B = batch.x.shape[0]
    for _, layer, direction in network.directions():
        h = next(h0, None)
        state: State = (np.zeros((B, direction.state_size)) if h is None else h.astype(np.float64),)
        if layer.cell == "lstm":
            c = next(c0, None)
            state = (*state, np.zeros((B, direction.hidden_size)) if c is None else c.astype(np.float64))
        yield state


def run_layer(layer: Layer, x: Array, first: Sequence[State]) -> tuple[list[Array], list[State]]:
    """One layer on x (B, T, I); for each direction its states as emitted (B, T, P), and the last one."""
    parts, finals = [], []
    for direction, state in zip(layer.directions, first, strict=True):
        y = allocate((x.shape[0], x.shape[1], layer.state_size))
        seen = x[:, ::-1] if direction.reverse else x
        written = y[:, ::-1] if direction.reverse and layer.time_restored else y
        finals.append(_run_direction(recurrence(layer, direction), seen, state, written))
        parts.append(y)
    return parts, finals


def _run_direction(formula: Recurrence, x: Array, state: State, y: Array) -> State:
    """Fill y (B, T, P) from x (B, T, I), both in processing order; returns the last state."""
    for start in range(0, x.shape[1], BLOCK):
        block = x[:, start : start + BLOCK].astype(np.float64)
        projected = formula.project(block)
        for t in range(block.shape[1]):
            state = formula.step(projected[:, t], state)
            y[:, start + t] = state[0]
        release(x)
        release(y)
    return state


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

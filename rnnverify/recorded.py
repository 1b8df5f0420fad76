"""What a run recorded, direction by direction, in the order of processing: the rows that every check of steps reads.

Every recorded state is one step (x_t, h_{t-1}) -> h_t of its direction, whatever came before it; the cell state of an
LSTM, which no framework shows at every step, is known where it starts and where it ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.precision import narrow
from rnnverify.trace import Run


@dataclass(frozen=True)
class Steps:
    """The steps of one direction, in the order in which it processed them."""

    where: str  # such as "layer 1 reverse"
    layer: Layer
    direction: Direction
    x: Array  # (B, T, I)
    h: Array  # (B, T, P)
    h0: Array | None  # (B, P); None for zeros
    c0: Array | None = None  # (B, H) of an LSTM; None for zeros
    h_n: Array | None = None  # (B, P): the final state as it was handed out; None where it was not recorded
    c_n: Array | None = None  # (B, H) likewise
    c0_off: Array | None = None  # (B, H): how far c0 may lie from the true one, where it was not recorded


def recorded_steps(network: Network, run: Run, dtype: str = "") -> Iterator[Steps]:
    """Every direction of `network` in turn; ends early where `run` did not record its states.

    `dtype` is what the side computed in, where that is not the dtype of its arrays.
    """
    states = states_of(network, run)
    h0, c0, h_n, c_n = (iter(each) for each in (run.batch.h0 or (), run.batch.c0 or (), run.h_n, run.c_n))
    x = run.batch.x
    for k, layer in enumerate(network.layers):
        parts = []
        for direction in layer.directions:
            emitted = next(states, None)
            if emitted is None or emitted.shape != (*x.shape[:2], direction.state_size):
                return
            h = emitted[:, ::-1] if direction.reverse and layer.time_restored else emitted
            seen = x[:, ::-1] if direction.reverse else x
            where = f"layer {k}" + (" reverse" if direction.reverse else "")
            cells = (next(c0, None), next(c_n, None)) if layer.cell == "lstm" else (None, None)
            yield Steps(where, layer, direction, seen, h, next(h0, None), cells[0], next(h_n, None), cells[1])
            parts.append(emitted)
        if k < len(network.layers) - 1:
            if is_merged(layer):
                x = merged(layer, parts, dtype)
            else:
                x = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def is_merged(layer: Layer) -> bool:
    """Whether the outputs of the two directions of `layer` are one array, in which they cannot be told apart."""
    return layer.bidirectional and layer.merge != "concat"


def merged(layer: Layer, parts: Sequence[Array], dtype: str = "") -> Array:
    """As the framework does, in its own dtype: one correctly rounded operation, and an exact halving."""
    forward, reverse = parts
    kept_as = dtype if dtype == "bfloat16" else forward.dtype.name
    if layer.merge == "mul":
        return narrow(forward * reverse, kept_as)
    total = narrow(forward + reverse, kept_as)
    return np.asarray(total * np.asarray(0.5, total.dtype) if layer.merge == "ave" else total)


def states_of(network: Network, run: Run) -> Iterator[Array]:
    """Per layer and direction (B, T, P) as emitted; those of the top layer are read off y, which is compared."""
    top = network.layers[-1]
    below = run.states[: len(run.states) - len(top.directions)]
    if len(network.layers) > 1:
        yield from below
    if is_merged(top):
        yield from run.states[len(below) :]
    else:
        P = top.state_size
        yield from (run.y[..., d * P : (d + 1) * P] for d in range(len(top.directions)))

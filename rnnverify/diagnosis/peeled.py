"""What the outputs of a stack show of the states below: each upper layer is linear in what it reads, before activation.

A layer taken to be right is turned back step by step: z - h U - b = x W, solved for x where W has as many columns as
rows. A few digits are lost on the way down, and enough are left to see in which order rows stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify.canonical import Array, Layer, Network
from rnnverify.diagnosis.shown import INVERSES, turned_back
from rnnverify.trace import PROBE, Run


def peeled(network: Network, runs: Sequence[Run]) -> list[Run]:
    """`runs` with the states of every layer; NaN where a unit was too near its bound. Empty where they do not show."""
    top = network.layers[-1]
    merged = any(layer.bidirectional and layer.merge != "concat" for layer in network.layers)
    turnable = all(layer.activation in INVERSES and layer.cell == "rnn" for layer in network.layers)
    if merged or not turnable or len(network.layers) < 2:
        return []
    found = []
    for run in runs:
        if run.batch.name == PROBE or run.y.shape[2] != top.output_size:
            continue
        h0 = list(run.batch.h0 or [None] * sum(len(layer.directions) for layer in network.layers))
        y: Array | None = run.y.astype(np.float64)
        states: list[Array] = []
        for layer in reversed(network.layers):
            assert y is not None
            parts = np.split(y, len(layer.directions), axis=2)
            states = [*parts, *states]
            starts = h0[len(h0) - len(states) : len(h0) - len(states) + len(parts)]
            if layer is not network.layers[0]:
                y = _inputs(layer, parts, starts)
                if y is None:
                    return []
        found.append(replace(run, states=tuple(states), h_n=()))
    return found


def _inputs(layer: Layer, emitted: Sequence[Array], starts: Sequence[Array | None]) -> Array | None:
    """What a layer that emitted `emitted` (B, T, H) for each direction has read (B, T, I)."""
    left = []
    for d, states, start in zip(layer.directions, emitted, starts, strict=True):
        h = states[:, ::-1] if d.reverse and layer.time_restored else states
        first = np.zeros((len(h), d.hidden_size)) if start is None else start
        before = np.concatenate([first[:, None], h[:, :-1]], axis=1)
        z = turned_back(layer.activation, h) - before @ d.recurrent_kernel[0].astype(np.float64) - d.bias[0]
        left.append(z[:, ::-1] if d.reverse else z)
    W = np.concatenate([d.kernel[0] for d in layer.directions], axis=1).astype(np.float64)
    if W.shape[0] > W.shape[1] or np.linalg.matrix_rank(W) < W.shape[0]:
        return None
    return np.asarray(np.concatenate(left, axis=2) @ np.linalg.pinv(W))

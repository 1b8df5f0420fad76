"""A clip of the cell state that only one of two networks has: whether it ever acts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.cells import State, recurrence
from rnnverify.reference import BLOCK, initial_states, merge, run_layer
from rnnverify.trace import Batch

NEAR = 0.9  # of a clip: a cell state that comes so far has come near it


def without_idle_clips(
    a: Network, b: Network, batches: Sequence[Batch], labels: tuple[str, str]
) -> tuple[Network, Network, tuple[str, ...]]:
    """Both networks without the clips that are not the same and that no cell state of either comes near, and remarks.

    A clip that nothing comes near is no difference on these inputs; that it is there has to be said.
    """
    if len(a.layers) != len(b.layers) or all(_clip(p) == _clip(q) for p, q in zip(a.layers, b.layers, strict=True)):
        return a, b, ()
    peaks = np.maximum(largest_cells(a, batches), largest_cells(b, batches))
    ours, theirs, remarks = [], [], []
    for k, (mine, other, peak) in enumerate(zip(a.layers, b.layers, peaks, strict=True)):
        clips = _clip(mine), _clip(other)
        if clips[0] != clips[1] and peak < NEAR * min(filter(None, clips)):
            remarks.append(f"layer {k}: {_words(labels, clips)}; on these inputs none exceeds {peak:.2g}")
            mine, other = (replace(y, gating=replace(y.gating, cell_clip=0.0)) for y in (mine, other))
        ours.append(mine)
        theirs.append(other)
    return Network(tuple(ours)), Network(tuple(theirs)), tuple(remarks)


def _clip(layer: Layer) -> float:
    return layer.gating.cell_clip if layer.cell == "lstm" else 0.0


def _words(labels: tuple[str, str], clips: tuple[float, float]) -> str:
    (first, clip), *rest = sorted(zip(labels, clips, strict=True), key=lambda each: each[1] == 0)
    ((other, its),) = rest
    return f"{first} clips cell states at {clip:g}, {other} " + (f"at {its:g}" if its else "does not")


def largest_cells(network: Network, batches: Sequence[Batch]) -> Array:
    """(layers,) the largest |c| that each LSTM layer comes to on `batches`, in float64; 0 for other cells."""
    with np.errstate(over="ignore", invalid="ignore"):  # a NaN is near every clip
        return np.max([list(_peaks(network, batch)) for batch in batches], axis=0)  # type: ignore[no-any-return]


def _peaks(network: Network, batch: Batch) -> Iterator[float]:
    outputs, starts = batch.x, initial_states(network, batch)
    for layer in network.layers:
        first = [next(starts) for _ in layer.directions]
        each = zip(layer.directions, first, strict=True)
        yield max(_peak(layer, direction, outputs, state) for direction, state in each) if layer.cell == "lstm" else 0.0
        parts, _ = run_layer(layer, outputs, first)
        outputs = parts[0] if len(parts) == 1 else merge(layer.merge, parts)


def _peak(layer: Layer, direction: Direction, x: Array, state: State) -> float:
    formula, found = recurrence(layer, direction), np.float64(0)
    seen = x[:, ::-1] if direction.reverse else x
    for start in range(0, x.shape[1], BLOCK):
        projected = formula.project(seen[:, start : start + BLOCK].astype(np.float64))
        for t in range(projected.shape[1]):
            state = formula.step(projected[:, t], state)
            found = np.maximum(found, np.abs(state[1]).max())
    return float(found)

"""Where two runs part, coarsely: the deviation by unit and step, small enough to be kept in a result and drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnverify.arrays import release
from rnnverify.canonical import Array
from rnnverify.trace import Run

UNITS, STEPS = 32, 64
"""The most stretches of either axis."""

_BLOCK_BYTES = 2**24


@dataclass(frozen=True)
class HeatMap:
    """|a - b| of the outputs of one batch, the largest over all sequences and within a stretch of units and steps."""

    batch: str
    units: int  # F, over which the rows are spread evenly
    steps: int  # T, over which each row is
    rows: tuple[tuple[float, ...], ...]  # of three digits; NaN where a side is not finite


def heat_map(baseline: Run, candidate: Run) -> HeatMap:
    """The outputs (B, T, F) of two runs of one batch, held against each other; their shapes are the same."""
    B, T, F = baseline.y.shape
    first_units = _firsts(F, UNITS)
    stretch = np.arange(T) * min(T, STEPS) // T  # of each step
    cells = np.zeros((min(T, STEPS), len(first_units)))
    length = max(1, _BLOCK_BYTES // (8 * B * F))
    for start in range(0, T, length):
        by_unit = _largest(baseline.y[:, start : start + length], candidate.y[:, start : start + length])  # (t, F)
        here = stretch[start : start + length]
        firsts = np.flatnonzero(np.diff(here, prepend=-1))
        block = np.maximum.reduceat(np.maximum.reduceat(by_unit, first_units, axis=1), firsts, axis=0)
        cells[here[firsts]] = np.maximum(cells[here[firsts]], block)
        release(baseline.y)
        release(candidate.y)
    rows = tuple(tuple(float(f"{value:.3g}") for value in row) for row in cells.T)
    return HeatMap(baseline.batch.name, F, T, rows)


def _firsts(count: int, most: int) -> Array:
    """Where each of at most `most` even stretches of `count` begins."""
    stretch = np.arange(count) * min(count, most) // count
    return np.flatnonzero(np.diff(stretch, prepend=-1))


def _largest(a: Array, b: Array) -> Array:
    """The largest difference of a and b (B, t, F) over the sequences, (t, F); NaN where a side is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
    found = np.asarray(difference.max(axis=0))
    found[~np.isfinite(found)] = np.nan
    return found

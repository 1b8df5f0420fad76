"""A weight tensor on both sides, coarsely: small enough to be kept in a result and drawn side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array

CELLS = 24
"""The most stretches of either axis."""


@dataclass(frozen=True)
class WeightMap:
    """The same entries of both sides; of each stretch of rows and columns the one that differs most."""

    shape: tuple[int, ...]  # rows and columns of the whole tensor, over which the cells are spread evenly
    baseline: tuple[tuple[float, ...], ...]  # of four digits
    candidate: tuple[tuple[float, ...], ...]


def weight_map(a: Array, b: Array) -> WeightMap:
    """Two tensors of one shape, (G, I, H) as I rows of G H columns, or (G, H) as one row; float64."""
    a, b = (
        each.swapaxes(0, -2).reshape(-1 if each.ndim == 3 else 1, each.shape[0] * each.shape[-1]) for each in (a, b)
    )
    rows, columns = (np.array_split(np.arange(n), min(n, CELLS)) for n in a.shape)
    found = np.empty((2, len(rows), len(columns)))
    for i, some in enumerate(rows):
        for k, others in enumerate(columns):
            here = np.ix_(some, others)
            x, y = a[here].ravel(), b[here].ravel()
            most = int(np.argmax(np.abs(x - y)))
            found[:, i, k] = x[most], y[most]
    drawn = [tuple(tuple(float(f"{value:.4g}") for value in row) for row in side) for side in found]
    return WeightMap(a.shape, *drawn)


def _flat(tensor: Array) -> Array:
    columns = tensor.shape[0] * tensor.shape[-1]
    return np.asarray(tensor.swapaxes(0, -2).reshape(-1 if tensor.ndim == 3 else 1, columns))

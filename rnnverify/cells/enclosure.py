"""How far what a framework computes may lie from the exact value, for the parts that gated cells are made of."""

from __future__ import annotations

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array
from rnnverify.precision import UNIT_ROUNDOFF, smallest, spacing
from rnnverify.step import Allowed, activation_error, gamma

Bounded = tuple[Array, Array]
"""An exact value in float64, and how far a computed one may lie from it."""

_SLACK = 1.01  # sums of positive terms in float32 are good to far better than 1 %


class Activation:
    """An activation as a framework computes it in `dtype`: its error, beside that of what goes in."""

    def __init__(self, name: str, dtype: str, allowed: Allowed | None = None) -> None:
        self._act, self._error = activation(name), activation_error(name, allowed)
        self._dtype, self._u = dtype, UNIT_ROUNDOFF[dtype]

    def __call__(self, z: Array, eps: Array) -> Bounded:
        """act(z) where z is known to within eps."""
        middle = self._act(z)
        low, high = self._act(z - eps), self._act(z + eps)
        largest = np.maximum(np.abs(low), np.abs(high))
        if self._error.largest_slope:  # not monotone
            reach = self._error.largest_slope * eps
        else:
            reach = np.maximum(high - middle, middle - low)
        reach += self._error.ulps * spacing(largest, self._dtype) + self._error.units * self._u
        if self._dtype == "float64":
            reach += 4 * np.spacing(largest)  # NumPy's own activation
        return middle, np.where(np.isnan(reach), np.inf, reach)


class Product:
    """Rows (n, R) times a matrix (R, K): the exact sums, and the sums of the sizes of their terms."""

    def __init__(self, weights: Array, dtype: str) -> None:
        self.weights = weights
        self._sizes = np.abs(weights)
        # what float32 loses to underflow is part of `reach`, unless float64 is what is judged
        self._narrow = None if dtype == "float64" else self._sizes.astype(np.float32)

    def __call__(self, rows: Array) -> Array:
        return np.asarray(rows @ self.weights)

    def sizes(self, rows: Array) -> Array:
        """At least |rows| |weights|, and no more than 1 % above it."""
        rows = np.abs(rows)
        found = rows @ self._sizes if self._narrow is None else rows.astype(np.float32) @ self._narrow
        if not np.isfinite(found).all():
            found = rows @ self._sizes
        return np.asarray(_SLACK * found.astype(np.float64))


def reach(sizes: Array, terms: Array, dtype: str) -> Array:
    """How far a sum of `terms` terms (..., 1) may lie from the exact one, in any order; underflow is part of it."""
    return np.asarray(gamma(terms, dtype) * sizes + terms * smallest(dtype))

"""How far what a framework computes may lie from the exact value, for the parts that gated cells are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnnverify.activations import activation
from rnnverify.canonical import Array
from rnnverify.precision import UNIT_ROUNDOFF, smallest, spacing
from rnnverify.step import Allowed, activation_error, gamma

Bounded = tuple[Array, Array]
"""An exact value in float64, and how far a computed one may lie from it."""

_BENDS: dict[str, tuple[Callable[[Array], Array], Callable[[Array, Array], Array], float]] = {
    "tanh": (lambda y: 1 - y * y, lambda y, slope: 2 * np.abs(y) * slope, 2.0),
    "sigmoid": (lambda y: y - y * y, lambda y, slope: np.abs(1 - 2 * y) * slope, 0.125),
}
"""Slope and size of the second derivative as functions of the value, and what the third derivative never exceeds."""


class Activation:
    """An activation as a framework computes it in `dtype`: its error, beside that of what goes in."""

    def __init__(self, name: str, dtype: str, allowed: Allowed | None = None) -> None:
        self._act, self._error = activation(name), activation_error(name, allowed)
        self._dtype, self._u = dtype, UNIT_ROUNDOFF[dtype]
        self._bend = _BENDS.get(name)
        if self._bend:  # as far as the remainder of the series stays below u / 64
            self._near = float(np.cbrt(6 * self._u / (64 * self._bend[2])))

    def __call__(self, z: Array, eps: Array) -> Bounded:
        """act(z) where z is known to within eps."""
        middle = self._act(z)
        reach = self._by_series(middle, z, eps) if self._bend else self._by_ends(middle, z, eps)
        if self._error.ulps or self._dtype == "float64":
            largest = np.abs(middle) + reach
            if self._error.ulps:
                reach += self._error.ulps * spacing(largest, self._dtype)
            if self._dtype == "float64":
                reach += 4 * np.spacing(largest)  # NumPy's own activation
        reach += self._error.units * self._u
        unknown = np.isnan(reach)
        if unknown.any():
            reach[unknown] = np.inf
        return middle, reach

    def _by_series(self, middle: Array, z: Array, eps: Array) -> Array:
        """How far act leads within eps of z, by Taylor's formula to the second order; at the ends where that is far."""
        assert self._bend
        slope_of, curvature_of, third = self._bend
        slope = slope_of(middle)
        reach = curvature_of(middle, slope)
        reach *= eps
        reach *= 0.5
        reach += slope
        reach *= eps
        reach += third / 6 * self._near**3
        far = ~(eps <= self._near)
        if far.any():
            reach[far] = self._by_ends(middle[far], z[far], eps[far])
        return reach

    def _by_ends(self, middle: Array, z: Array, eps: Array) -> Array:
        if self._error.largest_slope:  # not monotone
            return np.asarray(self._error.largest_slope * eps)
        return np.asarray(np.maximum(self._act(z + eps) - middle, middle - self._act(z - eps)))


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
        """At least |rows| |weights|, and hardly more: what a sum of positive terms in float32 loses is added again."""
        rows = np.abs(rows)
        found = rows @ self._sizes if self._narrow is None else rows.astype(np.float32) @ self._narrow
        if not np.isfinite(found).all():
            found = rows @ self._sizes
        # each factor, each product and each sum is rounded once: found is at least (1 - u)^(R + 3) of the exact sum
        return np.asarray((1 + (self.weights.shape[0] + 4) * 2.0**-23) * found.astype(np.float64))


def operation(dtype: str) -> float:
    """What one operation on exact numbers is off by, relatively: once in the side, and once more where float64 is
    judged, in which it is done here."""
    return UNIT_ROUNDOFF[dtype] * (2 if dtype == "float64" else 1)


def reach(sizes: Array, terms: Array, dtype: str) -> Array:
    """How far a sum of `terms` terms (..., 1) may lie from the exact one, in any order; underflow is part of it."""
    return np.asarray(gamma(terms, dtype) * sizes + terms * smallest(dtype))

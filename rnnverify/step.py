"""How far rounding may carry one step: an interval around act(Z) for every state, and the errors of activations.

`rounding` has the inequality, and applies it to whole runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.activations import activation as activation_of
from rnnverify.canonical import Array
from rnnverify.errors import OptionError, printable
from rnnverify.parametrised import parsed
from rnnverify.precision import UNIT_ROUNDOFF, smallest, spacing


@dataclass(frozen=True)
class ActivationError:
    """How far a framework's activation may lie from the exact one: ulps of the result, and multiples of u.

    `least_slope(act(z), z, eps)` bounds the slope within eps of z from below, cheaply: most states are settled by it.
    `largest_slope` is for an activation that is not monotone, and then takes the place of the interval.
    """

    ulps: float
    units: float
    least_slope: Callable[[Array, Array, Array], Array] | None = None
    largest_slope: float = 0.0


@dataclass(frozen=True)
class Allowed:
    """What the user allows an activation to be off, in the place of the table: ulps of the result, multiples of u."""

    ulps: float
    units: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= value < 1e6 for value in (self.ulps, self.units)):
            raise OptionError(f"--activation-error {self.ulps:g},{self.units:g}: wanted two numbers from 0 to 1e6")


def parse_allowed(given: str) -> Allowed:
    """`ULPS` or `ULPS,U`. Raises OptionError."""
    try:
        values = [float(part) for part in given.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, 2):
        raise OptionError(f"--activation-error {printable(given)}: wanted ULPS or ULPS,U such as 8,4")
    return Allowed(*values)


def _tanh_slope(y: Array, _: Array, eps: Array) -> Array:
    return np.asarray(1 - y * y - 2 * eps)  # |tanh''| < 1


def _sigmoid_slope(y: Array, _: Array, eps: Array) -> Array:
    return np.asarray(y * (1 - y) - eps)  # |sigmoid''| < 0.1


def _relu_slope(_: Array, z: Array, eps: Array) -> Array:
    return (z > eps).astype(z.dtype)


def _linear_slope(y: Array, _: Array, __: Array) -> Array:
    return np.ones_like(y)


# Largest errors measured over dense grids of float32: tanh 6.14 ulp (TensorFlow 2.21, Eigen's rational approximation),
# 0.51 ulp (PyTorch 2.13); sigmoid 2.57 u (TensorFlow), 1.50 u (PyTorch). The others are one or two operations more.
_COMPOSED = ActivationError(8, 8)
ACTIVATION_ERRORS: dict[str, ActivationError] = {
    "tanh": ActivationError(8, 4, _tanh_slope),
    "sigmoid": ActivationError(0, 4, _sigmoid_slope),
    "relu": ActivationError(0, 0, _relu_slope),
    "linear": ActivationError(0, 0, _linear_slope),
    "relu6": ActivationError(0, 0),
    "leaky_relu": ActivationError(1, 0),
    "hard_sigmoid": ActivationError(0, 4),
    "keras2_hard_sigmoid": ActivationError(0, 4),
    "softsign": ActivationError(4, 0),
    "silu": ActivationError(8, 8, largest_slope=1.1),
    "gelu": ActivationError(8, 8, largest_slope=1.13),
    "mish": ActivationError(16, 16, largest_slope=1.1),
    "hard_silu": ActivationError(8, 8, largest_slope=1.5),
}


def activation_error(name: str, allowed: Allowed | None = None) -> ActivationError:
    """That of an activation, by its name in `activations`; what the user allows in its place."""
    found = ACTIVATION_ERRORS.get(name) or _parametrised_error(name)
    return replace(found, ulps=allowed.ulps, units=allowed.units) if allowed else found


def _parametrised_error(name: str) -> ActivationError:
    parts = parsed(name)
    if parts.family is None:  # a clip before what the table has adds no rounding; the slope may be 0 anywhere
        return replace(ACTIVATION_ERRORS.get(parts.base, _COMPOSED), least_slope=None)
    ulps, units = parts.family.error(*parts.numbers)
    rises = parts.family.rises(*parts.numbers)
    return ActivationError(ulps, units, largest_slope=0.0 if rises else parts.family.steepest(*parts.numbers))


class Step:
    """The step of one direction, and how far rounding may carry a state from it."""

    def __init__(
        self,
        activation: str,
        weights: Array,
        bias: Array,
        bias_magnitude: Array,
        dtype: str,
        allowed: Allowed | None = None,
    ) -> None:
        self._act = activation_of(activation)
        self._error = activation_error(activation, allowed)
        self._weights, self._bias, self._bias_magnitude = weights, bias, bias_magnitude
        self._narrow = np.abs(weights).astype(np.float32)
        self._dtype, self._u = dtype, UNIT_ROUNDOFF[dtype]

    def judge(self, terms: Array, h: Array) -> tuple[Array, Array, Array]:
        """For h (b, t, H) after terms (b, t, I+H): the share of the budget used, where h is beyond it, and its error.

        Bounds of the budget from both sides settle nearly all states with one evaluation of the activation and a
        product in float32; the exact interval is computed for the rest.
        """
        rows = terms.reshape(-1, terms.shape[2])  # one product of matrices, not one for each sequence
        Z = (rows @ self._weights + self._bias).reshape(h.shape)
        middle = self._act(Z)
        distance = np.abs(h - middle)
        # the number of non-zero terms and the two biases
        bound = gamma(np.count_nonzero(terms, axis=2)[..., None] + 2, self._dtype)
        least, most = self._bounds(rows, Z, middle, bound)
        used = ratio(distance, least)
        beyond = ~(distance <= least)
        doubtful = (used > 0.5) & (distance <= most)
        if doubtful.any():
            where = np.nonzero(doubtful)
            low, high = self._interval(terms[where[:2]], where[2], Z[where], bound[where[:2]][:, 0])
            exact = np.maximum(high - middle[where], middle[where] - low)
            used[where] = ratio(distance[where], exact)
            beyond[where] = ~((low <= h[where]) & (h[where] <= high))
        return used, beyond, distance

    def _bounds(self, rows: Array, Z: Array, middle: Array, gamma: Array) -> tuple[Array, Array]:
        """The budget around act(Z) at least, and at most; cheaply."""
        size = np.abs(middle)
        least = self._error.ulps * self._u * size + self._error.units * self._u  # ulp(y) is between u |y| and 2 u |y|
        if self._error.least_slope is None:
            return least, np.full_like(least, np.inf)
        # float32 sums of positive terms are good to far better than 1 %
        S = (np.abs(rows).astype(np.float32) @ self._narrow + self._bias_magnitude.astype(np.float32)).reshape(Z.shape)
        finite = np.isfinite(S)
        eps = (0.99 * gamma) * np.where(finite, S, 0)
        most = 1.05 * eps + 2.2 * self._error.ulps * self._u * (size + eps) + self._error.units * self._u
        most += 2.0**-49 * size + self._underflow  # of the evaluation in float64; no slope is above 1
        most[~finite | (S < 1e-30)] = np.inf  # beyond what float32 holds, at either end
        return least + eps * np.maximum(self._error.least_slope(middle, Z, eps), 0), most

    def _interval(self, terms: Array, units: Array, Z: Array, gamma: Array) -> tuple[Array, Array]:
        """What rounding allows, for terms (n, I+H) and one unit of each (n,)."""
        low, high = np.empty_like(Z), np.empty_like(Z)
        columns, place = np.unique(units, return_inverse=True)
        magnitudes = np.abs(self._weights[:, columns]).T  # of the units that are in doubt, (n, I+H)
        for start in range(0, len(Z), 4096):
            some = slice(start, start + 4096)
            S = np.einsum("nk,nk->n", np.abs(terms[some]), magnitudes[place[some]])
            eps = gamma[some] * (S + self._bias_magnitude[units[some]]) + self._underflow
            if self._error.largest_slope:
                reach = self._error.largest_slope * eps
                low[some], high[some] = self._act(Z[some]) - reach, self._act(Z[some]) + reach
            else:
                low[some], high[some] = self._act(Z[some] - eps), self._act(Z[some] + eps)
        # the spacing at the larger end keeps act + tau monotone across powers of two
        largest = np.maximum(np.abs(low), np.abs(high))
        tau = self._error.ulps * spacing(largest, self._dtype) + self._error.units * self._u
        if self._dtype == "float64":
            tau = tau + 4 * np.spacing(largest)  # NumPy's own activation, which the interval is computed with
        return low - tau, high + tau

    @property
    def _underflow(self) -> float:
        """What underflow may take from all terms of a sum."""
        return (len(self._weights) + 2) * smallest(self._dtype)


def gamma(m: Array, dtype: str) -> Array:
    """gamma_m, what a sum may be off by whose terms meet `m` roundings each, relative to the sum of their sizes."""
    mu = m * UNIT_ROUNDOFF[dtype]
    # m u without the denominator bounds sums and products of any length (Jeannerod and Rump, SIMAX 34, 2013)
    bound = np.asarray(np.where(mu < 0.5, mu / (1 - np.minimum(mu, 0.5)), 2 * mu))
    # the evaluation here rounds too: as much again for float64, next to nothing for narrower types
    return np.asarray(bound * (2 if dtype == "float64" else 1 + 1e-7))


def ratio(distance: Array, reach: Array) -> Array:
    """The share of `reach` that `distance` takes: 0 where there is no distance, infinite where nothing is allowed."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        used = np.where(distance == 0, 0.0, distance / reach)
    return np.where(np.isnan(used), np.inf, used)

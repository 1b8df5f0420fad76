"""What rounding explains, step by step.

Each recorded state is held against the one step that led to it, from the side's own previous state: nothing grows with
time, and a chaotic network is judged as sharply as any other. In float64, with u the unit roundoff of the side:

    Z = x W + h U + b_ih + b_hh          S = |x||W| + |h||U| + |b_ih| + |b_hh|
    m = the number of non-zero terms     eps = gamma_m S,  gamma_m = m u / (1 - m u)

    act(Z - eps) - tau  <=  h'  <=  act(Z + eps) + tau

Every order of summation meets at most m roundings in each product (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1), and act is monotone, so every correct implementation passes; tau is the error of the
activation itself, ACTIVATION_ERRORS. The two biases stay apart in S, since a framework may add them in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.activations import ACTIVATIONS
from rnnverify.arrays import release
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.trace import Run

UNIT_ROUNDOFF = {"float16": 2.0**-11, "float32": 2.0**-24, "float64": 2.0**-53}
_BLOCK_BYTES = 2**20  # of one array of states


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


@dataclass(frozen=True)
class Budget:
    """One side's states against the steps that some weights prescribe."""

    used: float  # the largest share of what rounding allows that any state takes; above 1 it is not explained
    where: str  # layer and direction of that state
    at: tuple[int, int, int]  # its sequence, step and unit; steps counted in the order of processing
    beyond: int  # states that rounding does not explain
    checked: int
    first_step: int | None  # the first step, in the order of processing, with such a state

    @property
    def holds(self) -> bool:
        return self.beyond == 0


def check(network: Network, runs: Sequence[Run], dtype: str, other: Network | None = None) -> Budget | None:
    """Hold every recorded step of `runs` against the weights of `network`; None where the states were not recorded.

    `dtype` is the one whose rounding is allowed. `other` is the network of the other side: of its biases and those of
    `network` the larger magnitudes stand in S, so that a port which added two into one float is not blamed for it.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # states that overflow are beyond any budget
        found = [budget for run in runs for budget in _run_budgets(network, run, dtype, other)]
    expected = sum(len(layer.directions) for layer in network.layers) + _is_merged(network.layers[-1])
    if len(found) != len(runs) * expected:
        return None
    worst = max(found, key=lambda budget: budget.used)
    steps = [budget.first_step for budget in found if budget.first_step is not None]
    return Budget(
        used=worst.used,
        where=worst.where,
        at=worst.at,
        beyond=sum(budget.beyond for budget in found),
        checked=sum(budget.checked for budget in found),
        first_step=min(steps, default=None),
    )


def _run_budgets(network: Network, run: Run, dtype: str, other: Network | None) -> Iterator[Budget]:
    states = _states(network, run)
    h0 = iter(run.batch.h0 or ())
    biases = _bias_magnitudes(network, other)
    finals = iter(run.h_n)
    x = run.batch.x
    for k, layer in enumerate(network.layers):
        parts = []
        for direction in layer.directions:
            emitted = next(states, None)
            if emitted is None or emitted.shape != (*x.shape[:2], direction.hidden_size):
                return
            flipped = direction.reverse and layer.time_restored
            h = emitted[:, ::-1] if flipped else emitted
            seen = x[:, ::-1] if direction.reverse else x
            where = f"layer {k}" + (" reverse" if direction.reverse else "")
            budget = _direction_budget(where, layer, direction, seen, h, next(h0, None), next(biases), dtype)
            yield _with_final(budget, h[:, -1], next(finals, None), dtype)
            parts.append(emitted)
        top = k == len(network.layers) - 1
        if _is_merged(layer):
            merged = _merge(layer, parts)
            if top:
                yield _merge_budget(f"layer {k} outputs", parts, merged, run.y, dtype)
            x = merged
        elif not top:
            x = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def _with_final(budget: Budget, last: Array, final: Array | None, dtype: str) -> Budget:
    """`budget`, with a recorded final state (B, H) held against the last step (B, H): they are one and the same."""
    if final is None:
        return budget
    if final.shape != last.shape:
        wrong = last.size
    else:
        allowed = 2 * UNIT_ROUNDOFF[dtype] * np.abs(last.astype(np.float64))
        wrong = int((~(np.abs(final.astype(np.float64) - last.astype(np.float64)) <= allowed)).sum())
    if not wrong:
        return budget
    return replace(budget, used=math.inf, where=f"final state of {budget.where}", beyond=budget.beyond + wrong)


def _is_merged(layer: Layer) -> bool:
    return layer.bidirectional and layer.merge != "concat"


def _states(network: Network, run: Run) -> Iterator[Array]:
    """Per layer and direction (B, T, H) as emitted; those of the top layer are read off y, which is compared."""
    top = network.layers[-1]
    below = run.states[: len(run.states) - len(top.directions)]
    if len(network.layers) > 1:
        yield from below
    if _is_merged(top):
        yield from run.states[len(below) :]
    else:
        H = top.hidden_size
        yield from (run.y[..., d * H : (d + 1) * H] for d in range(len(top.directions)))


def _bias_magnitudes(network: Network, other: Network | None) -> Iterator[Array]:
    """|b_ih| + |b_hh| (H,) of each direction, the larger of the two networks'."""
    theirs = [direction for _, _, direction in other.directions()] if other else []
    for k, (_, _, direction) in enumerate(network.directions()):
        size = _bias_magnitude(direction)
        if k < len(theirs) and theirs[k].hidden_size == direction.hidden_size:
            size = np.maximum(size, _bias_magnitude(theirs[k]))
        yield size


def _bias_magnitude(direction: Direction) -> Array:
    parts = (direction.bias_input[0], direction.bias_recurrent[0])
    return np.asarray(sum(np.abs(part.astype(np.float64)) for part in parts))


def _direction_budget(
    where: str,
    layer: Layer,
    direction: Direction,
    x: Array,
    h: Array,
    h0: Array | None,
    bias_magnitude: Array,
    dtype: str,
) -> Budget:
    """x (B, T, I) and h (B, T, H) in the order of processing."""
    B, T, H = h.shape
    weights = np.concatenate([direction.kernel[0], direction.recurrent_kernel[0]]).astype(np.float64)  # (I+H, H)
    step = _Step(layer.activation, weights, direction.bias[0], bias_magnitude, dtype)
    previous = np.zeros((B, 1, H)) if h0 is None else np.asarray(h0, np.float64)[:, None]
    tally = _Tally(where)
    length = max(1, _BLOCK_BYTES // (8 * B * H))
    for start in range(0, T, length):
        block = h[:, start : start + length].astype(np.float64)  # (B, t, H)
        before = np.concatenate([previous, block[:, :-1]], axis=1)
        terms = np.concatenate([x[:, start : start + length].astype(h.dtype).astype(np.float64), before], axis=2)
        tally.add(start, *step.judge(terms, block))
        previous = block[:, -1:]
        release(x)
        release(h)
    return tally.budget()


class _Step:
    """The step of one direction, and how far rounding may carry a state from it."""

    def __init__(self, activation: str, weights: Array, bias: Array, bias_magnitude: Array, dtype: str) -> None:
        self._act = ACTIVATIONS[activation]
        self._error = ACTIVATION_ERRORS.get(activation, _COMPOSED)
        self._weights, self._bias, self._bias_magnitude = weights, bias, bias_magnitude
        self._columns = np.ascontiguousarray(np.abs(weights).T)  # (H, I+H)
        self._narrow = np.abs(weights).astype(np.float32)
        self._dtype, self._u = dtype, UNIT_ROUNDOFF[dtype]

    def judge(self, terms: Array, h: Array) -> tuple[Array, Array]:
        """For h (b, t, H) after terms (b, t, I+H): the share of the budget used, and where h is beyond it.

        Bounds of the budget from both sides settle nearly all states with one evaluation of the activation and a
        product in float32; the exact interval is computed for the rest.
        """
        rows = terms.reshape(-1, terms.shape[2])  # one product of matrices, not one for each sequence
        Z = (rows @ self._weights + self._bias).reshape(h.shape)
        middle = self._act(Z)
        distance = np.abs(h - middle)
        gamma = self._gamma(terms)
        least, most = self._bounds(rows, Z, middle, gamma)
        used = _ratio(distance, least)
        beyond = ~(distance <= least)
        doubtful = (used > 0.5) & (distance <= most)
        if doubtful.any():
            where = np.nonzero(doubtful)
            low, high = self._interval(terms[where[:2]], where[2], Z[where], gamma[where[:2]][:, 0])
            exact = np.maximum(high - middle[where], middle[where] - low)
            used[where] = _ratio(distance[where], exact)
            beyond[where] = ~((low <= h[where]) & (h[where] <= high))
        return used, beyond

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

    def _gamma(self, terms: Array) -> Array:
        """gamma_m (b, t, 1), m being the number of non-zero terms and the two biases."""
        m = np.count_nonzero(terms, axis=2)[..., None] + 2
        bound: Array = m * self._u / (1 - m * self._u)
        # the evaluation here rounds too: as much again for float64, next to nothing for narrower types
        return bound * (2 if self._dtype == "float64" else 1 + 1e-7)

    def _interval(self, terms: Array, units: Array, Z: Array, gamma: Array) -> tuple[Array, Array]:
        """What rounding allows, for terms (n, I+H) and one unit of each (n,)."""
        low, high = np.empty_like(Z), np.empty_like(Z)
        for start in range(0, len(Z), 4096):
            some = slice(start, start + 4096)
            S = np.einsum("nk,nk->n", np.abs(terms[some]), self._columns[units[some]])
            eps = gamma[some] * (S + self._bias_magnitude[units[some]]) + self._underflow
            if self._error.largest_slope:
                reach = self._error.largest_slope * eps
                low[some], high[some] = self._act(Z[some]) - reach, self._act(Z[some]) + reach
            else:
                low[some], high[some] = self._act(Z[some] - eps), self._act(Z[some] + eps)
        # the spacing at the larger end keeps act + tau monotone across powers of two
        largest = np.maximum(np.abs(low), np.abs(high))
        tau = (
            self._error.ulps * np.spacing(largest.astype(self._dtype)).astype(np.float64) + self._error.units * self._u
        )
        if self._dtype == "float64":
            tau = tau + 4 * np.spacing(largest)  # NumPy's own activation, which the interval is computed with
        return low - tau, high + tau

    @property
    def _underflow(self) -> float:
        """What underflow may take from all terms of a sum."""
        return (len(self._weights) + 2) * float(np.finfo(self._dtype).tiny)


def _ratio(distance: Array, reach: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        used = np.where(distance == 0, 0.0, distance / reach)
    return np.where(np.isnan(used), np.inf, used)


def _merge(layer: Layer, parts: Sequence[Array]) -> Array:
    """As the framework does, in its own dtype: one correctly rounded operation, and an exact halving."""
    forward, reverse = parts
    if layer.merge == "mul":
        return np.asarray(forward * reverse)
    total = forward + reverse
    return np.asarray(total * np.asarray(0.5, total.dtype) if layer.merge == "ave" else total)


def _merge_budget(where: str, parts: Sequence[Array], merged: Array, y: Array, dtype: str) -> Budget:
    u = UNIT_ROUNDOFF[dtype]
    tally = _Tally(where)
    middle = merged.astype(np.float64)
    reach = 2 * u * (np.abs(parts[0], dtype=np.float64) + np.abs(parts[1], dtype=np.float64))
    distance = np.abs(y.astype(np.float64) - middle)
    tally.add(0, _ratio(distance, reach), ~(distance <= reach))
    return tally.budget()


class _Tally:
    """Collects, block by block, how much of the allowed interval the states take."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._used, self._at = -1.0, (0, 0, 0)
        self._beyond = self._checked = 0
        self._first: int | None = None

    def add(self, start: int, used: Array, outside: Array) -> None:
        self._checked += used.size
        self._beyond += int(outside.sum())
        if self._first is None and outside.any():
            self._first = start + int(np.argmax(outside.any(axis=(0, 2))))
        peak = float(used.max())
        if peak > self._used:
            i, t, j = np.unravel_index(int(np.argmax(used)), used.shape)
            self._used, self._at = peak, (int(i), start + int(t), int(j))

    def budget(self) -> Budget:
        return Budget(self._used, self._where, self._at, self._beyond, self._checked, self._first)

"""What rounding explains, step by step.

Each recorded state is held against the one step that led to it, from the side's own previous state: nothing grows with
time, and a chaotic network is judged as sharply as any other. In float64, with u the unit roundoff of the side:

    Z = x W + h U + b_ih + b_hh          S = |x||W| + |h||U| + |b_ih| + |b_hh|
    m = the number of non-zero terms     eps = gamma_m S,  gamma_m = m u / (1 - m u)

    act(Z - eps) - tau  <=  h'  <=  act(Z + eps) + tau

Every order of summation meets at most m roundings in each product (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1), and act is monotone, so every correct implementation passes; tau is the error of the
activation itself, in `step.ACTIVATION_ERRORS`. The two biases stay apart in S: a framework may add them in any order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.arrays import release
from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.step import UNIT_ROUNDOFF, Step, ratio
from rnnverify.trace import Run

_BLOCK_BYTES = 2**20  # of one array of states


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


def explains(network: Network, run: Run, dtype: str) -> bool:
    """Whether rounding explains every step of `run`; done at the first layer where it does not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return all(budget.holds for budget in _run_budgets(network, run, dtype, None))


def _run_budgets(network: Network, run: Run, dtype: str, other: Network | None) -> Iterator[Budget]:
    states = states_of(network, run)
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


def states_of(network: Network, run: Run) -> Iterator[Array]:
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
        size = direction.bias_magnitude[0]
        if k < len(theirs) and theirs[k].hidden_size == direction.hidden_size:
            size = np.maximum(size, theirs[k].bias_magnitude[0])
        yield size


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
    step = Step(layer.activation, weights, direction.bias[0], bias_magnitude, dtype)
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
    tally.add(0, ratio(distance, reach), ~(distance <= reach))
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

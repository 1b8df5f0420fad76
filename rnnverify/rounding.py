"""What rounding explains, step by step.

Each recorded state is held against the one step that led to it, from the side's own previous state: nothing grows with
time, and a chaotic network is judged as sharply as any other. In float64, with u the unit roundoff of the side:

    Z = x W + h U + b_ih + b_hh          S = |x||W| + |h||U| + |b_ih| + |b_hh|
    m = the number of non-zero terms     eps = gamma_m S,  gamma_m = m u / (1 - m u)

    act(Z - eps) - tau  <=  h'  <=  act(Z + eps) + tau

Every order of summation meets at most m roundings in each product (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1), and act is monotone, so every correct implementation passes; tau is the error of the
activation itself, in `step.ACTIVATION_ERRORS`. The two biases stay apart in S: a framework may add them in any order.
Gated cells are made of such sums: `cells/gru_step.py` and `cells/lstm_step.py` have their inequalities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.arrays import release
from rnnverify.canonical import Array, Network
from rnnverify.cells.lstm_step import LstmStep
from rnnverify.cells.steps import Judge, judge_of
from rnnverify.precision import UNIT_ROUNDOFF, narrow
from rnnverify.recorded import Steps, is_merged, merged, recorded_steps
from rnnverify.step import Allowed, ratio
from rnnverify.trace import ZERO, Run

_BLOCK_BYTES = 2**20  # of one array of states
SHARE_BINS, FIRST_SHARE = 24, -16
"""Of `Budget.shares`: bin k holds the states that use more than 2^(k-17) and at most 2^(k-16) of what rounding allows;
the first takes all smaller shares, the last all larger ones."""


@dataclass(frozen=True)
class Budget:
    """One side's states against the steps that some weights prescribe."""

    used: float  # the largest share of what rounding allows that any state takes; above 1 it is not explained
    where: str  # layer and direction of that state
    at: tuple[int, int, int]  # its sequence, step and unit; steps counted in the order of processing
    beyond: int  # states that rounding does not explain
    checked: int
    first_step: int | None  # the first step, in the order of processing, with such a state
    error: float  # the largest distance of a state from the exact step that led to it
    onset: tuple[str, int] | None = None  # from zero states: the lowest layer with such a state, and its first step
    shares: tuple[int, ...] = ()  # how many states use how much, in SHARE_BINS powers of two

    @property
    def holds(self) -> bool:
        return self.beyond == 0


def check(
    network: Network, runs: Sequence[Run], dtype: str, other: Network | None = None, allowed: Allowed | None = None
) -> Budget | None:
    """Hold every recorded step of `runs` against the weights of `network`; None where the states were not recorded.

    `dtype` is the one whose rounding is allowed, `allowed` what its activations may be off, else by the table. `other`
    is the network of the other side: of its biases and those of `network` the larger magnitudes stand in S, so that a
    port which added two into one float is not blamed for it.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # states that overflow are beyond any budget
        by_run = {run.batch.name: list(_run_budgets(network, run, dtype, other, allowed)) for run in runs}
    found = [budget for budgets in by_run.values() for budget in budgets]
    expected = sum(len(layer.directions) for layer in network.layers) + is_merged(network.layers[-1])
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
        error=max(budget.error for budget in found),
        onset=_onset(by_run.get(ZERO, [])),
        shares=tuple(sum(counts) for counts in zip(*(budget.shares for budget in found), strict=True)),
    )


def _onset(budgets: Sequence[Budget]) -> tuple[str, int] | None:
    """Where and when one run departs first; its budgets are in the order of its layers."""
    return next(((b.where, b.first_step) for b in budgets if b.first_step is not None), None)


def explains(network: Network, run: Run, dtype: str, allowed: Allowed | None = None) -> bool:
    """Whether rounding explains every step of `run`; done at the first layer where it does not."""
    with np.errstate(over="ignore", invalid="ignore"):
        return all(budget.holds for budget in _run_budgets(network, run, dtype, None, allowed))


def _run_budgets(
    network: Network, run: Run, dtype: str, other: Network | None, allowed: Allowed | None
) -> Iterator[Budget]:
    top = network.layers[-1]
    found = 0
    for steps, bias in zip(recorded_steps(network, run, dtype), _bias_magnitudes(network, other), strict=False):
        yield _direction_budget(steps, bias, dtype, allowed)
        found += 1
    if is_merged(top) and found == len(list(network.directions())):
        parts = run.states[-2:]
        where = f"layer {len(network.layers) - 1} outputs"
        yield _merge_budget(where, parts, merged(top, parts, dtype), run.y, dtype)


def _with_finals(budget: Budget, steps: Steps, finals: Iterator[tuple[str, int, Array, Array]]) -> Budget:
    """`budget` with the `finals`: name, size, the share of the budget (B, P) that each value uses, where it is beyond.

    Where a step is beyond it already, the finals are a consequence.
    """
    for name, size, shares, outside in finals:
        budget = replace(budget, checked=budget.checked + size)
        if not outside.any():
            continue
        used, wrong = float(shares.max()), int(outside.sum())
        budget = replace(budget, used=max(used, budget.used), beyond=budget.beyond + wrong)
        if budget.first_step is None:
            i, j = np.unravel_index(int(np.argmax(shares)), shares.shape)
            last = steps.h.shape[1] - 1
            place = f"{name} of {steps.where}"
            budget = replace(budget, where=place, at=(int(i), last, int(j)), first_step=last)
    return budget


def _finals(steps: Steps, judge: Judge, last: Judge, terms: Array) -> Iterator[tuple[str, int, Array, Array]]:
    """The final states, from `judge` after the last step, and from `last`, as it was before, with that step's `terms`.

    h_n is the last state again, or another correct result of the same step: some record it in a run of its own.
    """
    if steps.h_n is not None and not np.array_equal(steps.h_n, steps.h[:, -1]):
        shape = steps.h[:, -1].shape
        if steps.h_n.shape == shape:
            used, outside, _ = last.judge(terms, steps.h_n[:, None].astype(np.float64))
            yield "final state", steps.h_n.size, used[:, 0], outside[:, 0]
        else:
            yield "final state", int(np.prod(shape)), np.full(shape, math.inf), np.full(shape, True)
    if isinstance(judge, LstmStep) and steps.c_n is not None:
        middle, reach = judge.cell
        if steps.c_n.shape == middle.shape:
            distance = np.abs(steps.c_n.astype(np.float64) - middle)
            yield "final cell state", middle.size, ratio(distance, reach), ~(distance <= reach)
        else:
            yield "final cell state", middle.size, np.full(middle.shape, math.inf), np.full(middle.shape, True)


def _bias_magnitudes(network: Network, other: Network | None) -> Iterator[Array]:
    """|b_ih| + |b_hh| (G, H) of each direction, the larger of the two networks'."""
    theirs = [direction for _, _, direction in other.directions()] if other else []
    for k, (_, _, direction) in enumerate(network.directions()):
        size = direction.bias_magnitude
        if k < len(theirs) and theirs[k].bias_magnitude.shape == size.shape:
            size = np.maximum(size, theirs[k].bias_magnitude)
        yield size


def _direction_budget(steps: Steps, bias_magnitude: Array, dtype: str, allowed: Allowed | None) -> Budget:
    x, h = steps.x, steps.h
    B, T, P = h.shape
    judge = judge_of(steps, bias_magnitude, dtype, allowed)
    previous = np.zeros((B, 1, P)) if steps.h0 is None else np.asarray(steps.h0, np.float64)[:, None]
    tally = _Tally(steps.where)
    seen_as = dtype if dtype == "bfloat16" else h.dtype.name
    length = max(1, _BLOCK_BYTES // (8 * B * steps.direction.kernel[:, 0].size))
    for start in (*range(0, T - 1, length), T - 1):  # the last step stands alone
        stop = min(start + length, T - 1) if start < T - 1 else T
        block = h[:, start:stop].astype(np.float64)  # (B, t, P)
        before = np.concatenate([previous, block[:, :-1]], axis=1)
        terms = np.concatenate([narrow(x[:, start:stop], seen_as).astype(np.float64), before], axis=2)
        last = copy(judge)  # none of them changes an array in place
        tally.add(start, *judge.judge(terms, block))
        previous = block[:, -1:]
        release(x)
        release(h)
    return _with_finals(tally.budget(), steps, _finals(steps, judge, last, terms))


def _merge_budget(where: str, parts: Sequence[Array], merged: Array, y: Array, dtype: str) -> Budget:
    u = UNIT_ROUNDOFF[dtype]
    tally = _Tally(where)
    middle = merged.astype(np.float64)
    reach = 2 * u * (np.abs(parts[0], dtype=np.float64) + np.abs(parts[1], dtype=np.float64))
    distance = np.abs(y.astype(np.float64) - middle)
    tally.add(0, ratio(distance, reach), ~(distance <= reach), distance)
    return tally.budget()


class _Tally:
    """Collects, block by block, how much of the allowed interval the states take."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._used, self._at = -1.0, (0, 0, 0)
        self._error = 0.0
        self._beyond = self._checked = 0
        self._first: int | None = None
        self._shares = np.zeros(SHARE_BINS, np.int64)

    def add(self, start: int, used: Array, outside: Array, distance: Array) -> None:
        self._checked += used.size
        self._error = max(self._error, float(distance.max()))
        self._shares += _shares(used)
        self._beyond += int(outside.sum())
        if self._first is None and outside.any():
            self._first = start + int(np.argmax(outside.any(axis=(0, 2))))
        peak = float(used.max())
        if peak > self._used:
            i, t, j = np.unravel_index(int(np.argmax(used)), used.shape)
            self._used, self._at = peak, (int(i), start + int(t), int(j))

    def budget(self) -> Budget:
        counted = self._beyond, self._checked, self._first, self._error
        return Budget(self._used, self._where, self._at, *counted, shares=tuple(int(n) for n in self._shares))


def _shares(used: Array) -> Array:
    """How many of `used` (B, t, H) lie in each bin (SHARE_BINS,), told by the exponent of the double just below."""
    bits = np.ascontiguousarray(used, np.float64).view(np.int64).ravel() - 1  # 1 itself is still within the budget
    counts = np.bincount((bits >> 52) + 1, minlength=2049)
    first = 1023 + FIRST_SHARE
    last = first + SHARE_BINS - 1
    return np.concatenate([[counts[: first + 1].sum()], counts[first + 1 : last], [counts[last:].sum()]])

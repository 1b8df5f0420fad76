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
from rnnverify.precision import UNIT_ROUNDOFF, narrow, smallest
from rnnverify.recorded import Steps, is_merged, merged, recorded_steps
from rnnverify.step import Allowed, ratio
from rnnverify.trace import ZERO, Run

_BLOCK_BYTES = 2**20  # of one array of states
_LEAST_ROWS = 128  # of a block, below which reading the weights costs more than the products
SHARE_BINS, FIRST_SHARE = 24, -16
"""Of `Budget.shares`: bin k holds the states that use more than 2^(k-17) and at most 2^(k-16) of what rounding allows;
the first takes all smaller shares, the last all larger ones."""


Judges = dict[str, Judge]
"""The judges of the directions of one network, by the name of each."""


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
        judges: Judges = {}
        by_run = {run.batch.name: list(_run_budgets(network, run, dtype, other, allowed, judges)) for run in runs}
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


def explains(
    network: Network, run: Run, dtype: str, allowed: Allowed | None = None, judges: Judges | None = None
) -> bool:
    """Whether rounding explains every step of `run`; done at the first layer where it does not.

    `judges`, empty at first, keeps what is made of `network` for the next of its runs.
    """
    judges = {} if judges is None else judges
    with np.errstate(over="ignore", invalid="ignore"):
        return all(budget.holds for budget in _run_budgets(network, run, dtype, None, allowed, judges))


def explains_steps(steps: Steps, dtype: str) -> bool:
    """Whether rounding explains every one of `steps`."""
    judge = judge_of(steps.layer, steps.direction, steps.direction.bias_magnitude, dtype, None)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _direction_budget(steps, judge, dtype).holds


def _run_budgets(
    network: Network, run: Run, dtype: str, other: Network | None, allowed: Allowed | None, judges: Judges
) -> Iterator[Budget]:
    top = network.layers[-1]
    found = 0
    for steps, bias in zip(recorded_steps(network, run, dtype), _bias_magnitudes(network, other), strict=False):
        if steps.where not in judges:
            judges[steps.where] = judge_of(steps.layer, steps.direction, bias, dtype, allowed)
        yield _direction_budget(steps, judges[steps.where], dtype)
        found += 1
    if is_merged(top) and found == len(list(network.directions())):
        parts = run.states[-2:]
        where = f"layer {len(network.layers) - 1} outputs"
        yield _merge_budget(where, parts, merged(top, parts, dtype), run.y, dtype)


@dataclass(frozen=True)
class _Final:
    """Final states of some sequences, held against the step that leads to them."""

    name: str
    first: int  # of the sequences
    used: Array  # (b, P): the share of the budget
    outside: Array  # (b, P): where it is beyond


def _with_finals(budget: Budget, steps: Steps, finals: Sequence[_Final]) -> Budget:
    """`budget` with the `finals`; where a step is beyond it already, they are a consequence."""
    last = steps.h.shape[1] - 1
    for final in finals:
        budget = replace(budget, checked=budget.checked + final.used.size)
        if not final.outside.any():
            continue
        used, wrong = float(final.used.max()), int(final.outside.sum())
        budget = replace(budget, used=max(used, budget.used), beyond=budget.beyond + wrong)
        if budget.first_step is None:
            i, j = np.unravel_index(int(np.argmax(final.used)), final.used.shape)
            place, at = f"{final.name} of {steps.where}", (final.first + int(i), last, int(j))
            budget = replace(budget, where=place, at=at, first_step=last)
    return budget


def _finals(steps: Steps, rows: slice, judge: Judge, before: Judge, terms: Array) -> Iterator[_Final]:
    """Of the sequences `rows`, from `judge` after the last step, and from `before` it, with that step's `terms`.

    h_n is the last state again, or another correct result of the same step: some record it in a run of its own.
    """
    h = steps.h[rows, -1]
    if steps.h_n is not None and steps.h_n.shape != steps.h[:, -1].shape:
        yield _Final("final state", rows.start, np.full(h.shape, math.inf), np.full(h.shape, True))
    elif steps.h_n is not None and not np.array_equal(steps.h_n[rows], h):
        used, outside, _ = before.judge(terms, steps.h_n[rows, None].astype(np.float64))
        yield _Final("final state", rows.start, used[:, 0], outside[:, 0])
    if isinstance(judge, LstmStep) and steps.c_n is not None:
        middle, reach = judge.cell
        found = steps.c_n[rows]
        if found.shape == middle.shape:
            distance = np.abs(found.astype(np.float64) - middle)
            yield _Final("final cell state", rows.start, ratio(distance, reach), ~(distance <= reach))
        else:
            shape = middle.shape
            yield _Final("final cell state", rows.start, np.full(shape, math.inf), np.full(shape, True))


def _bias_magnitudes(network: Network, other: Network | None) -> Iterator[Array]:
    """|b_ih| + |b_hh| (G, H) of each direction, the larger of the two networks'."""
    theirs = [direction for _, _, direction in other.directions()] if other else []
    for k, (_, _, direction) in enumerate(network.directions()):
        size = direction.bias_magnitude
        if k < len(theirs) and theirs[k].bias_magnitude.shape == size.shape:
            size = np.maximum(size, theirs[k].bias_magnitude)
        yield size


def _direction_budget(steps: Steps, judge: Judge, dtype: str) -> Budget:
    """Some sequences after the other, each block by block: what is computed of a block fits into a cache."""
    B = len(steps.h)
    at_once = max(_LEAST_ROWS, _BLOCK_BYTES // (8 * steps.direction.kernel[:, 0].size))  # steps of any sequence
    tally = _Tally(steps.where)
    finals: list[_Final] = []
    for first in range(0, B, at_once):
        rows = slice(first, min(first + at_once, B))
        if isinstance(judge, LstmStep):
            H = steps.direction.hidden_size
            c0 = np.zeros((rows.stop - first, H)) if steps.c0 is None else np.asarray(steps.c0[rows])
            judge.begin(c0, None if steps.c0_off is None else steps.c0_off[rows])
        finals += _add_blocks(tally, steps, rows, max(1, at_once // (rows.stop - first)), judge, dtype)
    return _with_finals(tally.budget(), steps, finals)


def _add_blocks(tally: _Tally, steps: Steps, rows: slice, length: int, judge: Judge, dtype: str) -> list[_Final]:
    """The sequences `rows`, so many steps at once, the last one alone; their final states."""
    x, h = steps.x[rows], steps.h[rows]
    T = h.shape[1]
    zeros = np.zeros((len(h), 1, h.shape[2]))
    previous = zeros if steps.h0 is None else np.asarray(steps.h0[rows], np.float64)[:, None]
    seen_as = dtype if dtype == "bfloat16" else h.dtype.name
    for start in (*range(0, T - 1, length), T - 1):
        stop = min(start + length, T - 1) if start < T - 1 else T
        block = h[:, start:stop].astype(np.float64)  # (b, t, P)
        before = np.concatenate([previous, block[:, :-1]], axis=1)
        terms = np.concatenate([narrow(x[:, start:stop], seen_as).astype(np.float64), before], axis=2)
        unmoved = copy(judge)  # none of them changes an array in place
        tally.add(rows.start, start, *judge.judge(terms, block))
        previous = block[:, -1:]
        release(x)
        release(h)
    return list(_finals(steps, rows, judge, unmoved, terms))


def _merge_budget(where: str, parts: Sequence[Array], merged: Array, y: Array, dtype: str) -> Budget:
    u = UNIT_ROUNDOFF[dtype]
    tally = _Tally(where)
    middle = merged.astype(np.float64)
    reach = 2 * u * (np.abs(parts[0], dtype=np.float64) + np.abs(parts[1], dtype=np.float64))
    reach += smallest(dtype)  # what underflow may take: half of a number, or a product of two, may be flushed to 0
    distance = np.abs(y.astype(np.float64) - middle)
    tally.add(0, 0, ratio(distance, reach), ~(distance <= reach), distance)
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

    def add(self, row: int, start: int, used: Array, outside: Array, distance: Array) -> None:
        """Of the sequences from `row` on, the steps from `start` on."""
        self._checked += used.size
        self._error = max(self._error, float(distance.max()))
        self._shares += _shares(used)
        self._beyond += int(outside.sum())
        if outside.any():
            first = start + int(np.argmax(outside.any(axis=(0, 2))))
            self._first = first if self._first is None else min(first, self._first)
        peak = float(used.max())
        if peak > self._used:
            i, t, j = np.unravel_index(int(np.argmax(used)), used.shape)
            self._used, self._at = peak, (row + int(i), start + int(t), int(j))

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

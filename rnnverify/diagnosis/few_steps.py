"""A few recorded steps of every direction of a network with gates, and whether its formula explains them.

The cell state of an LSTM is not recorded: it is followed from where a sequence starts, so the first steps of a few
sequences are looked at, and many of the sequences that are one step long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify.canonical import Array, Direction, Layer, Network
from rnnverify.cells import State, recurrence
from rnnverify.cells.lstm_step import LstmStep
from rnnverify.cells.steps import judge_of
from rnnverify.precision import narrow
from rnnverify.recorded import Steps, recorded_steps
from rnnverify.trace import Run

LOOSE = 1e-2
"""A residual beyond this, relative to the states, is no rounding to any type."""
_SEQUENCES, _STEPS = 2, 6
_SHORT = 16  # sequences of one step


def few_steps(network: Network, runs: Sequence[Run], dtype: str) -> list[list[Steps]] | None:
    """Of each direction its first steps in each run, the shortest runs first; None where some were not recorded."""
    count = sum(len(layer.directions) for layer in network.layers)
    by_run = [list(recorded_steps(network, run, dtype)) for run in sorted(runs, key=lambda run: run.y.shape[1])]
    if any(len(each) != count for each in by_run):
        return None
    return [[_cut(steps, dtype) for steps in of_one] for of_one in zip(*by_run, strict=True)]


def _cut(steps: Steps, dtype: str) -> Steps:
    B, T = steps.h.shape[:2]
    wanted = _SHORT if T == 1 else _SEQUENCES
    some = np.unique(np.linspace(0, B - 1, min(B, wanted)).astype(int))
    h0, c0 = (None if state is None else state[some] for state in (steps.h0, steps.c0))
    seen_as = dtype if dtype == "bfloat16" else steps.h.dtype.name
    x = narrow(np.ascontiguousarray(steps.x[some, :_STEPS]), seen_as)
    return replace(steps, x=x, h=np.ascontiguousarray(steps.h[some, :_STEPS]), h0=h0, c0=c0, h_n=None, c_n=None)


def explained(layer: Layer, direction: Direction, some: Sequence[Steps], dtype: str, loose: float = 0.0) -> bool:
    """Whether rounding to `dtype` explains the steps by other weights, or by another formula.

    With `loose` they may be off by as much instead, relative to the states.
    """
    if any((each.x.shape[2], each.h.shape[2]) != (direction.input_size, direction.state_size) for each in some):
        return False
    if not _roughly(layer, direction, some):
        return False
    judge = judge_of(layer, direction, direction.bias_magnitude, dtype, None)
    for steps in some:
        if isinstance(judge, LstmStep):
            none = np.zeros((len(steps.h), direction.hidden_size))
            judge.begin(none if steps.c0 is None else np.asarray(steps.c0))
        h = steps.h.astype(np.float64)
        start = np.zeros_like(h[:, :1]) if steps.h0 is None else np.asarray(steps.h0, np.float64)[:, None]
        terms = np.concatenate([steps.x.astype(np.float64), np.concatenate([start, h[:, :-1]], axis=1)], axis=2)
        with np.errstate(over="ignore", invalid="ignore"):
            _, beyond, distance = judge.judge(terms, h)
        wrong = ~(distance <= loose * np.maximum(1, np.abs(h))) if loose else beyond
        if wrong.any():
            return False
    return True


def _roughly(layer: Layer, direction: Direction, some: Sequence[Steps]) -> bool:
    """Whether the first step of every sequence comes near: most other weights are told by it, and quickly."""
    formula = recurrence(layer, direction)
    x, h = (np.concatenate([getattr(each, name)[:, 0] for each in some]).astype(np.float64) for name in ("x", "h"))
    starts = [_or_zeros(each.h0, len(each.h), direction.state_size) for each in some]
    state: State = (np.concatenate(starts),)
    if layer.cell == "lstm":
        cells = [_or_zeros(each.c0, len(each.h), direction.hidden_size) for each in some]
        state = (*state, np.concatenate(cells))
    with np.errstate(over="ignore", invalid="ignore"):
        after = formula.step(formula.project(x[:, None])[:, 0], state)[0]
        return bool(np.all(np.abs(after - h) <= LOOSE * np.maximum(1, np.abs(h))))


def _or_zeros(state: Array | None, rows: int, width: int) -> Array:
    return np.zeros((rows, width)) if state is None else state.astype(np.float64)

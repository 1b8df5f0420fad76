"""Recorded steps of cells with gates, as a fit reads them: with what rounding allows of each, in blocks of time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array, Direction
from rnnverify.cells.gru_step import GruStep
from rnnverify.cells.lstm_step import LstmStep
from rnnverify.cells.steps import judge_of
from rnnverify.precision import narrow
from rnnverify.recorded import Steps

_BLOCK = 2**14  # steps of any sequence


@dataclass(frozen=True)
class Recorded:
    """The first steps of one run, in the order of processing, float64."""

    x: Array  # (B, T, I), as the side itself read them
    before: Array  # (B, T, P)
    c0: Array  # (B, H)
    h: Array  # (B, T, P)
    allowed: Array  # (B, T, P): how far rounding may carry each from the exact step; infinite where nothing is known


def recorded(steps: Steps, length: int, dtype: str, direction: Direction | None = None) -> Recorded:
    """The first `length` steps; what rounding allows is that of the weights of `direction`, or those that are known."""
    parts = list(_blocks(steps, direction or steps.direction, dtype, length))
    terms, h, allowed = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1, 3))
    known = np.isfinite(terms).all(axis=2, keepdims=True) & np.isfinite(h) & (allowed > 0)
    I = steps.direction.input_size
    return Recorded(terms[..., :I], terms[..., I:], _first_cell(steps), h, np.where(known, allowed, np.inf))


def explained(group: Sequence[Steps], direction: Direction, dtype: str) -> bool:
    """Whether rounding explains every step of every run, if the weights are those of `direction`."""
    each = (part for steps in group for part in _blocks(steps, direction, dtype, steps.h.shape[1]))
    return all(bool((np.abs(h - exact) <= allowed).all()) for _, h, exact, allowed in each)


def _blocks(steps: Steps, direction: Direction, dtype: str, length: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Of the first `length` steps, block by block: [x, h before], h, the exact h, and how far rounding may carry it."""
    judge = judge_of(steps.layer, direction, direction.bias_magnitude, dtype, None)
    assert isinstance(judge, GruStep | LstmStep)
    if isinstance(judge, LstmStep):
        judge.begin(_first_cell(steps))
    B, _, P = steps.h.shape
    seen_as = dtype if dtype == "bfloat16" else steps.h.dtype.name
    before = np.zeros((B, 1, P)) if steps.h0 is None else np.asarray(steps.h0, np.float64)[:, None]
    at_once = max(1, _BLOCK // B)
    for start in range(0, length, at_once):
        some = slice(start, min(start + at_once, length))
        h = steps.h[:, some].astype(np.float64)
        earlier = np.concatenate([before, h[:, :-1]], axis=1)
        terms = np.concatenate([narrow(steps.x[:, some], seen_as).astype(np.float64), earlier], axis=2)
        yield terms, h, *judge.enclosed(terms)
        before = h[:, -1:]


def _first_cell(steps: Steps) -> Array:
    shape = (len(steps.h), steps.direction.hidden_size)
    return np.zeros(shape) if steps.c0 is None else np.asarray(steps.c0, np.float64)

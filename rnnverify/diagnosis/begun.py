"""A recorded run that goes on as a network prescribes, but does not begin at zeros.

Every step but the first follows from the recorded state before it. Of an LSTM the cell state is not recorded, but h
shows it: h' = o out(c'), and o is known from the second step on, so the third is the first that can be checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Network
from rnnverify.cells.lstm_step import LstmStep
from rnnverify.cells.steps import judge_of
from rnnverify.diagnosis.shown import INVERSES
from rnnverify.recorded import Steps, recorded_steps
from rnnverify.rounding import explains_steps
from rnnverify.trace import Batch, Run

_LEAST = 4  # steps of a run
_TOLD = 0.9  # of the cell states have to show


def initial_state_not_zero(network: Network, runs: Sequence[Run], dtype: str) -> float | None:
    """the initial state is not zero

    Every step follows from the one before, but the first does not follow from zeros: the initial state is random,
    learned, left over, or baked into an export. Record with the same initial state on both sides.
    """
    # pytorch/pytorch#24235, Tencent/ncnn#3861
    # the largest deviation that is left from the first steps that are known; None where this is not the mistake
    count = sum(len(layer.directions) for layer in network.layers)
    found = []
    for run in runs:
        if run.batch.h0 is not None or run.y.shape[1] < _LEAST:
            continue
        later = [_later(steps, dtype) for steps in recorded_steps(network, run, dtype)]
        known = [steps for steps in later if steps is not None]
        if len(known) != count or not all(explains_steps(steps, dtype) for steps in known):
            return None
        found += [_left(steps) for steps in known]
    return max(found) if found and np.isfinite(found).all() else None


def _later(steps: Steps, dtype: str) -> Steps | None:
    """`steps` from the first that can be checked; None where none can."""
    if steps.layer.cell != "lstm":
        return _from(steps, 1)
    gating, direction = steps.layer.gating, steps.direction
    inverse = INVERSES.get(gating.output or steps.layer.activation)
    hidden = direction.projection is not None or direction.peephole is not None
    judge = judge_of(steps.layer, direction, direction.bias_magnitude, dtype, None)
    if inverse is None or hidden or not isinstance(judge, LstmStep):
        return None
    terms = np.concatenate([steps.x[:, 1], steps.h[:, 0]], axis=1).astype(np.float64)
    with np.errstate(all="ignore"):
        c, off = judge.shown_cell(terms, steps.h[:, 1].astype(np.float64), inverse)
    return replace(_from(steps, 2), c0=c, c0_off=off) if np.isfinite(off).mean() >= _TOLD else None


def _from(steps: Steps, t: int) -> Steps:
    return replace(steps, x=steps.x[:, t:], h=steps.h[:, t:], h0=steps.h[:, t - 1], h_n=None, c_n=None)


def _left(steps: Steps) -> float:
    """How far the states are from those that the direction computes from there."""
    direction = replace(steps.direction, reverse=False)
    layer = replace(steps.layer, directions=(direction,))
    cells = None if steps.c0 is None else (np.asarray(steps.c0),)
    batch = Batch("", steps.x, (np.asarray(steps.h0),), cells)
    (run,) = reference.run(Network((layer,)), [batch]).runs.values()
    told = slice(None) if steps.c0_off is None else np.isfinite(steps.c0_off).all(axis=1)  # sequences
    return float(np.max(np.abs(run.y - steps.h)[told], initial=0.0))

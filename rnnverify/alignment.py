"""Two networks that are one function but for the order, sign or scale of their hidden units, held unit against unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnverify import symmetry
from rnnverify.canonical import Array, Network
from rnnverify.observed import Observed
from rnnverify.trace import SEARCH, ZERO, Run, Trace
from rnnverify.weights import compare_weights


def aligned(baseline: Observed, candidate: Observed) -> tuple[Observed, Observed, str] | None:
    """Both sides with the units of `candidate` where the baseline has them, and how in words; None where none fits.

    Runs from initial states are left out: the same state belongs to other units on the two sides.
    """
    if not baseline.network or not candidate.network:
        return None
    found = symmetry.find(candidate.network, baseline.network)
    if found is None or found.is_trivial:
        return None
    network = symmetry.applied(candidate.network, found)
    tensors, reasons = compare_weights(baseline.network, network)
    if reasons or any(tensor.differing for tensor in tensors):
        return None
    moved = replace(
        candidate,
        network=network,
        rounded=candidate.rounded and symmetry.applied(candidate.rounded, found),
        trace=_moved(candidate.trace, network, found.directions),
        reference=candidate.reference and _moved(candidate.reference, network, found.directions),
    )
    return replace(baseline, trace=_from_zero(baseline.trace)), moved, str(found)


def _from_zero(trace: Trace) -> Trace:
    return replace(trace, runs={name: run for name, run in trace.runs.items() if name in (ZERO, SEARCH)})


def _moved(trace: Trace, network: Network, units: Sequence[symmetry.Units]) -> Trace:
    runs = {name: _moved_run(run, network, units) for name, run in _from_zero(trace).runs.items()}
    return replace(trace, runs=runs)


def _moved_run(run: Run, network: Network, units: Sequence[symmetry.Units]) -> Run:
    top = network.layers[-1]
    cells = [each for each, (_, layer, _) in zip(units, network.directions(), strict=True) if layer.cell == "lstm"]
    last = units[-len(top.directions) :]
    if len(last) == 2 and top.merge == "concat":
        H = top.hidden_size
        y = np.concatenate([_take(run.y[..., d * H : (d + 1) * H], each) for d, each in enumerate(last)], axis=2)
    else:
        y = _take(run.y, last[0])
    return replace(
        run,
        y=y,
        h_n=tuple(_take(h, each) for h, each in zip(run.h_n, units, strict=False)),
        states=tuple(_take(h, each) for h, each in zip(run.states, units, strict=False)),
        c_n=tuple(_take(c, each) for c, each in zip(run.c_n, cells, strict=False)),
    )


def _take(states: Array, units: symmetry.Units) -> Array:
    """States (..., H) with the units in their new places; signs and powers of two are exact."""
    return np.asarray(states[..., list(units.order)] * np.asarray(units.factors, states.dtype))

"""Steps that a Masking layer skips are left out of inputs and recordings before anything is run.

A masked step changes no state: the network does on the other steps what it would do if that step were not there. So
sequences are compared without them. Those that are left must be equally long: of one that is longer only the beginning
stays, and one that is shorter is left out, in the way that keeps most steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnverify.canonical import Array, Network
from rnnverify.errors import InputsError
from rnnverify.lengths import Whole
from rnnverify.sides import Opened
from rnnverify.trace import PROBE, Batch, Run, Trace


@dataclass(frozen=True)
class _Kept:
    """What is kept of one batch: `rows` are sequences (b,), `steps` their steps in the order of time (b, t)."""

    rows: Array
    steps: Array
    whole: bool  # no step but masked ones is missing: final states are those of the last step kept

    def of(self, values: Array, turned: bool = False) -> Array:
        """`values` (B, T, F) as (b, t, F); `turned` where the last step comes first."""
        steps = values.shape[1] - 1 - self.steps[:, ::-1] if turned else self.steps
        return np.asarray(values[self.rows[:, None], steps])


def without_masked_steps(sides: Sequence[Opened]) -> tuple[Opened, ...]:
    """`sides` whose recordings are without the steps that a model among them masks.

    Raises InputsError where that leaves nothing, or cannot be told.
    """
    model = _masking(sides)
    if model is None:
        return tuple(sides)
    return tuple(
        replace(side, trace=_trace(model, side.trace), masked=tuple(_wholes(model, side.trace))) if side.trace else side
        for side in sides
    )


def unmasked(sides: Sequence[Opened], batches: Sequence[Batch]) -> tuple[Batch, ...]:
    """`batches` without the steps that a model among `sides` masks. Raises InputsError as above."""
    model = _masking(sides)
    if model is None:
        return tuple(batches)
    left = [(batch, _kept(model, batch)) for batch in batches]
    xs = {id(batch.x): kept.of(batch.x) for batch, kept in left if kept}  # batches of the same x share it again
    return tuple(_batch(batch, kept, xs[id(batch.x)]) if kept else batch for batch, kept in left)


def _masking(sides: Sequence[Opened]) -> Opened | None:
    return next((side for side in sides if side.reading and side.reading.mask_value is not None), None)


def _wholes(model: Opened, trace: Trace) -> Iterator[Whole]:
    for run in trace.runs.values():
        if _kept(model, run.batch) is not None:
            yield Whole(run, _stays(model, run.batch))


def _trace(model: Opened, trace: Trace) -> Trace:
    return replace(trace, runs={name: _run(model, run) for name, run in trace.runs.items()})


def _run(model: Opened, run: Run) -> Run:
    kept = _kept(model, run.batch)
    if kept is None:
        return run
    turned = model.network is not None and not model.network.layers[-1].time_restored
    h_n, c_n = (tuple(h[kept.rows] for h in finals) if kept.whole else () for finals in (run.h_n, run.c_n))
    states = tuple(kept.of(values, turned) for values in run.states)
    made = run.model_out
    if made is not None and made.shape[1] == run.y.shape[1]:
        made = kept.of(made, turned)
    elif made is not None:  # of the last step alone
        made = made[kept.rows] if kept.whole else None
    batch = _batch(run.batch, kept, kept.of(run.batch.x))
    return Run(batch, kept.of(run.y, turned), h_n, states, c_n, made)


def _batch(batch: Batch, kept: _Kept, x: Array) -> Batch:
    return replace(batch.starting(lambda state: state[kept.rows]), x=x)


def _kept(model: Opened, batch: Batch) -> _Kept | None:
    """What the mask of `model` leaves of `batch`; None where it masks nothing. Probes are never masked."""
    if batch.name == PROBE or batch.lengths is not None:  # what is padded is left out anyhow
        return None
    stays = _stays(model, batch)
    if stays.all():
        return None
    assert model.reading is not None
    network = model.reading.network
    if len(network.layers) > 1 and not all(layer.time_restored for layer in network.layers):
        found = f"the inputs hold steps that {model.source} masks, and it has a backward layer beside others"
        raise InputsError(f"{found}; give inputs without masked steps")
    counts = stays.sum(axis=1)
    backward = _backward(network)
    fitting = {int(t): np.flatnonzero(counts == t if backward else counts >= t) for t in np.unique(counts) if t}
    if not fitting:
        raise InputsError(f"{model.source} masks every step of the inputs; give others")
    t = max(fitting, key=lambda length: (length * len(fitting[length]), length))
    rows = fitting[t]
    steps = np.stack([np.flatnonzero(stays[row])[:t] for row in rows])
    return _Kept(rows, steps, bool((counts[rows] == t).all()))


def _stays(model: Opened, batch: Batch) -> Array:
    """Which steps (B, T) the mask of `model` leaves."""
    assert model.reading is not None and model.reading.mask_value is not None
    return np.asarray((batch.x.astype(np.float32) != np.float32(model.reading.mask_value)).any(axis=2))


def _backward(network: Network) -> bool:
    return any(direction.reverse for _, _, direction in network.directions())

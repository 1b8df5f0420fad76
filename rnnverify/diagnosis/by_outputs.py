"""Two sides, by their outputs alone: what was done with those of the one to give those of the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnverify.canonical import Array
from rnnverify.deviation import UNIT
from rnnverify.diagnosis.families import OUTPUTS
from rnnverify.diagnosis.hypothesis import words
from rnnverify.finding import Finding
from rnnverify.observed import Observed
from rnnverify.trace import PROBE, Run


def by_outputs(baseline: Observed, candidate: Observed, before: float | None) -> Iterator[Finding]:
    """The first mistake that makes the outputs of one side from those of the other, in every run but the probes."""
    unit = max(UNIT[side.arithmetic] for side in (baseline, candidate))
    for right, wrong in ((baseline, candidate), (candidate, baseline)):
        names = [name for name in right.trace.runs if name in wrong.trace.runs and name != PROBE]
        pairs = [(right.trace.runs[name], wrong.trace.runs[name]) for name in names]
        if not pairs or any(_is_close(a.y, b.y, unit) for a, b in pairs):
            continue
        for remake in OUTPUTS:
            kept: dict[str, float] | None = None
            for a, b in pairs:
                made = {
                    where: _largest(y, b.y)
                    for where, y in remake(np.asarray(a.y), np.asarray(b.y), _ways(right, a))
                    if _is_close(y, b.y, unit)
                }
                kept = made if kept is None else {w: max(kept[w], made[w]) for w in kept if w in made}
            for where, after in (kept or {}).items():
                name, advice = words(remake)
                yield Finding(name, advice, "confirmed", before, after, where, wrong.label)
                return


def _ways(side: Observed, run: Run) -> int:
    """How many directions the outputs are of; without a network that an even width may be of two is tried."""
    if side.network is not None:
        top = side.network.layers[-1]
        return 2 if top.bidirectional and top.merge == "concat" else 1
    return 2 if run.y.shape[2] % 2 == 0 else 1


def _is_close(made: Array, y: Array, unit: float) -> bool:
    return bool(_largest(made, y) <= unit * max(1.0, float(np.max(np.abs(y)))))


def _largest(a: Array, b: Array) -> float:
    return float(np.max(np.abs(a - b)))

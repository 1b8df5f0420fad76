"""A recorded side, and a network that should have made it: was it run as it should have been?"""

from __future__ import annotations

import numpy as np

from rnnverify import reference
from rnnverify.canonical import Network
from rnnverify.deviation import UNIT
from rnnverify.diagnosis.begun import initial_state_not_zero
from rnnverify.diagnosis.by_behaviour import recorded
from rnnverify.diagnosis.families import RUNS
from rnnverify.diagnosis.hypothesis import words
from rnnverify.diagnosis.runs import Restore
from rnnverify.finding import Finding
from rnnverify.observed import Observed
from rnnverify.rounding import explains
from rnnverify.trace import PROBE, Run


def by_runs(network: Network, shown: Observed, before: float | None) -> list[Finding]:
    """The mistake in how `network` was run that explains what `shown` recorded, where there is one."""
    runs = list(shown.trace.runs.values())
    unexplained = [run for run in runs if not holds(network, run, shown.arithmetic)]
    if not unexplained:
        return []
    for restore in RUNS:
        for where in _explains(restore, network, runs, unexplained, shown.arithmetic):
            name, advice = words(restore)
            after = _left(restore, where, network, runs)
            return [Finding(name, advice, "confirmed", before, after, where, shown.label)]
    left = initial_state_not_zero(network, unexplained, shown.arithmetic)  # explains the least
    if left is None:
        return []
    name, advice = words(initial_state_not_zero)
    return [Finding(name, advice, "confirmed", before, left, "", shown.label)]


def holds(network: Network, run: Run, dtype: str) -> bool:
    """Whether rounding explains every step of `run`; where not all were recorded, whether its outputs are close."""
    if recorded(network, run) is not None:
        return explains(network, run, dtype)
    return _deviation(network, run) <= UNIT[dtype] * max(1.0, float(np.max(np.abs(run.y))))


def _explains(restore: Restore, network: Network, runs: list[Run], unexplained: list[Run], dtype: str) -> list[str]:
    """The places where the mistake explains every run that it can be undone in, and one that was not explained."""
    good: dict[str, bool] = {}
    useful: set[str] = set()
    for run in runs:
        for where, other, restored in restore(network, run):
            if good.get(where, True):
                good[where] = holds(other, restored, dtype)
            if any(run is each for each in unexplained):
                useful.add(where)
    return [where for where, fine in good.items() if fine and where in useful]


def _left(restore: Restore, where: str, network: Network, runs: list[Run]) -> float | None:
    found = [
        _deviation(other, restored)
        for run in runs
        if run.batch.name != PROBE
        for place, other, restored in restore(network, run)
        if place == where
    ]
    return max(found) if found and np.isfinite(found).all() else None


def _deviation(network: Network, run: Run) -> float:
    (computed,) = reference.run(network, [run.batch]).runs.values()
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.max(np.abs(computed.y - run.y)))

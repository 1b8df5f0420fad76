"""What a side did, as the judge sees it, and the deviations between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnverify.arrays import release
from rnnverify.canonical import Array, Network
from rnnverify.comparison import Measured, Tolerance, largest, measure
from rnnverify.trace import PROBE, Run, Trace


@dataclass(frozen=True)
class Observed:
    """A side as the judge sees it: what ran, and the float64 reference of its own weights."""

    label: str
    network: Network | None  # None for a trace
    trace: Trace
    reference: Trace | None  # None for a trace

    @cached_property
    def arithmetic(self) -> str:
        """The dtype whose rounding stands between the weights and the states.

        The reference computes in float64, but on weights that a file of float32 may have rounded when it was ported.
        """
        computed = str(next(iter(self.trace.runs.values())).y.dtype.name)
        if computed == "float64" and self.network is None and all(_is_float32(r.y) for r in self.trace.runs.values()):
            return "float32"  # recorded in a wider type than it was computed in
        by_reference = self.trace.provenance.get("engine") == "reference"
        if by_reference and self.network and self.network.dtype != np.float64:
            return "float32"
        return computed

    @cached_property
    def implementation(self) -> float | None:
        """How far what ran lies from the reference of its own weights; None where that is not known, or is what ran."""
        ran = self.trace.provenance.get("engine") != "reference"
        return largest_deviation(self.trace, self.reference) if ran else None


def matrix(sides: Sequence[Observed]) -> tuple[tuple[float, ...], ...]:
    """The maximum deviation of every side against every side; NaN where one of them is not finite."""
    size = len(sides)
    table = np.zeros((size, size))
    for i in range(size):
        for j in range(i):
            value = largest_deviation(sides[i].trace, sides[j].trace)
            table[i, j] = table[j, i] = np.nan if value is None else value
    return tuple(tuple(float(value) for value in row) for row in table)


def measured(a: Trace, b: Trace, tolerance: Tolerance) -> Iterator[Measured]:
    """Every deviation of two traces: outputs of every step and final states, of each batch but the probes."""
    for name, run in a.runs.items():
        if name not in b.runs or name == PROBE:  # probes are judged by their budget: their states are not typical
            continue
        other = b.runs[name]
        yield Measured(name, "y", measure(run.y, other.y, tolerance))
        for k, (ours, theirs) in enumerate(_finals(run, other)):
            yield Measured(name, f"h_n[{k}]", measure(ours[:, None], theirs[:, None], tolerance))


def largest_deviation(a: Trace | None, b: Trace | None) -> float | None:
    """The maximum deviation of two traces; NaN where one is not finite, None where one is not known."""
    if a is None or b is None:
        return None
    if a is b:
        return 0.0
    both = [(run, b.runs[name]) for name, run in a.runs.items() if name in b.runs and name != PROBE]
    found = [largest(run.y, other.y) for run, other in both]
    found += [largest(x[:, None], y[:, None]) for run, other in both for x, y in _finals(run, other)]
    return max(found) if not any(np.isnan(found)) else float("nan")


def _finals(a: Run, b: Run) -> list[tuple[Array, Array]]:
    """Final states side by side, where both sides have them for the same layers and directions."""
    if not a.h_n or not b.h_n or not _same_states(a, b):
        return []
    return list(zip(a.h_n, b.h_n, strict=True))


def same_layers(a: Trace, b: Trace) -> bool:
    """Whether the final states that both sides recorded belong to the same layers and directions."""
    both = [(run, b.runs[name]) for name, run in a.runs.items() if name in b.runs]
    return all(_same_states(ours, theirs) for ours, theirs in both if ours.h_n and theirs.h_n)


def _same_states(a: Run, b: Run) -> bool:
    return [h.shape for h in a.h_n] == [h.shape for h in b.h_n]


def magnitude(y: Array) -> float:
    """The largest finite absolute value of y (B, T, F)."""
    found = 0.0
    for start in range(0, y.shape[1], 1024):
        block = np.abs(y[:, start : start + 1024])
        found = max(found, float(np.max(block, where=np.isfinite(block), initial=0.0)))
        release(y)
    return found


def _is_float32(y: Array) -> bool:
    """Whether every value of y (B, T, F) is one that float32 holds."""
    with np.errstate(over="ignore"):
        return all(bool(np.all(y[:, t].astype(np.float32) == y[:, t])) for t in range(y.shape[1]))

"""What a side did, as the judge sees it, and the deviations between two of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnverify.around import NOTHING, Around
from rnnverify.arrays import release
from rnnverify.canonical import Array, Network
from rnnverify.comparison import Measured
from rnnverify.deviation import UNIT, Tolerance, largest, measure
from rnnverify.lengths import Whole
from rnnverify.precision import holds
from rnnverify.trace import PROBE, Run, Trace


@dataclass(frozen=True)
class Observed:
    """A side as the judge sees it: what ran, and the float64 reference of its own weights."""

    label: str
    network: Network | None  # None for a trace
    trace: Trace
    reference: Trace | None  # None for a trace
    assumptions: tuple[str, ...] = ()  # facts that its file does not state
    around: Around = NOTHING  # the embedding and the dense layers, where both sides have them
    rounded: Network | None = None  # what was run, where another dtype was asked for than the file's
    asked: str = ""  # the dtype that the sides were to run in; "" where none was asked for
    framework: str = ""  # "keras", "torch" or "tensorflow", of the file or of what was recorded; "" where not known
    whole: tuple[Whole, ...] = ()  # runs with the padded or masked steps that are left out of `trace`

    @property
    def ran(self) -> Network | None:
        """The weights that the states follow from."""
        return self.rounded or self.network

    @cached_property
    def arithmetic(self) -> str:
        """The dtype whose rounding stands between the weights and the states.

        The reference computes in float64, but on weights that a file of float32 may have rounded when it was ported.
        """
        computed = str(next(iter(self.trace.runs.values())).y.dtype.name)
        by_reference = self.trace.provenance.get("engine") == "reference"
        if by_reference and self.asked:
            return self.asked  # exact, and held to what a framework would have rounded
        stated = self.trace.provenance.get("dtype") or (self.asked if self.network is None else "")
        if stated in ("bfloat16", "float16") and all(holds(run.y, str(stated)) for run in self.trace.runs.values()):
            return str(stated)  # said by the runner, a record or the user, and borne out by every value
        if (
            computed == "float64"
            and self.network is None
            and all(holds(r.y, "float32") for r in self.trace.runs.values())
        ):
            return "float32"  # recorded in a wider type than it was computed in
        if by_reference and self.ran and self.ran.dtype != np.float64:
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
    for name, output, ours, theirs in compared(a, b):
        yield Measured(name, output, measure(ours, theirs, tolerance))


def compared(a: Trace, b: Trace) -> Iterator[tuple[str, str, Array, Array]]:
    """Batch, output, and both sides' arrays (B, T, F) of all that is held against each other."""
    for name, run in a.runs.items():
        if name not in b.runs or name == PROBE:  # probes are judged by their budget: their states are not typical
            continue
        other = b.runs[name]
        yield name, "y", run.y, other.y
        for output, ours, theirs in _finals(run, other):
            yield name, output, ours[:, None], theirs[:, None]


def largest_deviation(a: Trace | None, b: Trace | None) -> float | None:
    """The maximum deviation of two traces; NaN where one is not finite, None where one is not known."""
    if a is None or b is None:
        return None
    if a is b:
        return 0.0
    found = [largest(ours, theirs) for _, _, ours, theirs in compared(a, b)]
    return max(found) if not any(np.isnan(found)) else float("nan")


def _finals(a: Run, b: Run) -> Iterator[tuple[str, Array, Array]]:
    """Final states side by side, where both sides have them for the same layers and directions."""
    for name, ours, theirs in (("h_n", a.h_n, b.h_n), ("c_n", a.c_n, b.c_n)):
        if [state.shape for state in ours] == [state.shape for state in theirs]:
            for k, pair in enumerate(zip(ours, theirs, strict=True)):
                yield f"{name}[{k}]", *pair


def same_layers(a: Trace, b: Trace) -> bool:
    """Whether the final states that both sides recorded belong to the same layers and directions."""
    both = [(run, b.runs[name]) for name, run in a.runs.items() if name in b.runs]
    return all(_same_states(ours, theirs) for ours, theirs in both if ours.h_n and theirs.h_n)


def _same_states(a: Run, b: Run) -> bool:
    return [h.shape for h in a.h_n] == [h.shape for h in b.h_n]


def provenance_reasons(a: Observed, b: Observed) -> Iterator[str]:
    """What the records of two sides say against them before a number is compared: other weights, a narrower dtype."""
    ours, theirs = _kernels(a), _kernels(b)
    if ours and theirs and ours != theirs and not (a.network and b.network):
        words = [f"{s.label} was recorded from" if s.network is None else f"{s.label} holds" for s in (a, b)]
        yield f"{words[0]} kernels with fingerprint {ours[:12]}, {words[1]} others: {theirs[:12]}"
    dtypes = (a.arithmetic, b.arithmetic)
    if {"bfloat16", "float16"} & set(dtypes) and len(set(dtypes)) > 1:
        found = f"the dtype is another: {a.label} computed in {dtypes[0]}, {b.label} in {dtypes[1]}"
        narrow = max(dtypes, key=lambda name: UNIT[name])
        yield found + f" (--dtype {narrow} runs models in it)" * (not a.asked)


def _kernels(side: Observed) -> str:
    """The fingerprint of the kernels that a side has, or that its trace was recorded from; empty where not known."""
    if side.network:
        return side.network.kernel_fingerprint()
    return str(side.trace.provenance.get("kernels", ""))


def magnitude(y: Array) -> float:
    """The largest finite absolute value of y (B, T, F)."""
    found = 0.0
    for start in range(0, y.shape[1], 1024):
        block = np.abs(y[:, start : start + 1024])
        found = max(found, float(np.max(block, where=np.isfinite(block), initial=0.0)))
        release(y)
    return found

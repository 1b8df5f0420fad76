"""The verdict on a pair: every deviation of the square, and what may be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rnnverify.canonical import Array, Network
from rnnverify.comparison import UNIT, Measured, Pair, TensorDifference, Tolerance, Verdict, measure
from rnnverify.trace import Batch, Run, Trace
from rnnverify.weights import compare_weights


@dataclass(frozen=True)
class Observed:
    """A side as the judge sees it: what ran, and the float64 reference of its own weights."""

    label: str
    network: Network | None  # None for a trace
    trace: Trace
    reference: Trace | None  # None for a trace


def judge(baseline: Observed, candidate: Observed, batches: Sequence[Batch], tolerance: Tolerance) -> Pair:
    """Hold `candidate` against `baseline`; raises MismatchError where their outputs have other shapes."""
    rule, words = _rule(baseline, candidate)
    measured = tuple(_measured(baseline.trace, candidate.trace, rule))
    headline = max(measured, key=_severity)
    tensors: tuple[TensorDifference, ...] = ()
    structure: tuple[str, ...] = ()
    if baseline.network and candidate.network:
        tensors, structure = compare_weights(baseline.network, candidate.network)
    within_rule = all(m.deviation.beyond == 0 for m in measured)
    within_user = bool(tolerance) and not any(
        m.deviation.beyond for m in _measured(baseline.trace, candidate.trace, tolerance)
    )
    weight_reasons = [*structure, *_weight_reasons(tensors)]
    if not structure and not _same_layers(baseline.trace, candidate.trace):
        weight_reasons.append("the final states have other shapes: other layers or directions")
    verdict, reasons = _verdict(measured, tensors, weight_reasons, within_rule, within_user, tolerance)
    if verdict in ("IDENTICAL", "EQUIVALENT", "CLOSE") and not tensors:
        blind = _blind(batches)
        if blind:
            verdict, reasons = "INCONCLUSIVE", [blind]
    by_user = bool(tolerance) and verdict in ("CLOSE", "DIFFERENT")
    implementations = [_implementation(side) for side in (baseline, candidate)]
    for side, implementation in zip((baseline, candidate), implementations, strict=True):
        if implementation is not None and implementation > rule.atol:
            reasons.append(
                f"{side.label} departs from the reference of its own weights by {implementation:.2g}: "
                "its file may hold an attribute that is not supported, or was read wrongly"
            )
    return Pair(
        baseline=baseline.label,
        candidate=candidate.label,
        verdict=verdict,
        reasons=tuple(reasons),
        tolerance=tolerance if by_user else rule,
        rule="set by --atol and --rtol" if by_user else words,
        headline=headline,
        measured=measured,
        implementation_baseline=implementations[0],
        implementation_candidate=implementations[1],
        weights=_largest(baseline.reference, candidate.reference),
        tensors=tensors,
    )


def matrix(sides: Sequence[Observed]) -> tuple[tuple[float, ...], ...]:
    """The maximum deviation of every side against every side; NaN where one of them is not finite."""
    size = len(sides)
    table = np.zeros((size, size))
    for i in range(size):
        for j in range(i):
            value = _largest(sides[i].trace, sides[j].trace)
            table[i, j] = table[j, i] = np.nan if value is None else value
    return tuple(tuple(float(value) for value in row) for row in table)


def _rule(baseline: Observed, candidate: Observed) -> tuple[Tolerance, str]:
    """The documented rule that stands in for a rounding budget, by the coarser dtype and the largest state."""
    dtypes = [run.y.dtype.name for side in (baseline, candidate) for run in side.trace.runs.values()]
    coarser = max(dtypes, key=lambda name: UNIT.get(name, 0.0))
    runs = baseline.trace.runs.values()
    scale = max(1.0, *(_magnitude(values) for run in runs for values in (run.y, *(h[:, None] for h in run.h_n))))
    unit = UNIT[coarser]
    return Tolerance(atol=unit * scale), f"{coarser} rule: {unit:g} x the largest state, {scale:.3g}"


def _magnitude(y: Array) -> float:
    """The largest finite absolute value of y (B, T, F)."""
    largest = 0.0
    for start in range(0, y.shape[1], 1024):
        block = np.abs(y[:, start : start + 1024], dtype=np.float64)
        largest = max(largest, float(np.max(block, where=np.isfinite(block), initial=0.0)))
    return largest


def _measured(a: Trace, b: Trace, tolerance: Tolerance) -> Iterator[Measured]:
    for name, run in a.runs.items():
        if name not in b.runs:
            continue
        other = b.runs[name]
        yield Measured(name, "y", measure(run.y, other.y, tolerance))
        for k, (ours, theirs) in enumerate(_finals(run, other)):
            yield Measured(name, f"h_n[{k}]", measure(ours[:, None], theirs[:, None], tolerance))


def _finals(a: Run, b: Run) -> list[tuple[Array, Array]]:
    """Final states side by side, where both sides have them for the same layers and directions."""
    if not a.h_n or not b.h_n or not _same_states(a, b):
        return []
    return list(zip(a.h_n, b.h_n, strict=True))


def _same_layers(a: Trace, b: Trace) -> bool:
    """Whether the final states that both sides recorded belong to the same layers and directions."""
    both = [(run, b.runs[name]) for name, run in a.runs.items() if name in b.runs]
    return all(_same_states(ours, theirs) for ours, theirs in both if ours.h_n and theirs.h_n)


def _same_states(a: Run, b: Run) -> bool:
    return [h.shape for h in a.h_n] == [h.shape for h in b.h_n]


def _severity(measured: Measured) -> tuple[int, float]:
    return sum(measured.deviation.nonfinite), measured.deviation.max_abs


def _largest(a: Trace | None, b: Trace | None) -> float | None:
    if a is None or b is None:
        return None
    found = [m.deviation for m in _measured(a, b, Tolerance())]
    if any(sum(deviation.nonfinite) for deviation in found):
        return float("nan")
    return max(deviation.max_abs for deviation in found)


def _implementation(side: Observed) -> float | None:
    ran = side.trace.provenance.get("engine") != "reference"
    return _largest(side.trace, side.reference) if ran else None


def _weight_reasons(tensors: Sequence[TensorDifference]) -> Iterator[str]:
    for tensor in tensors:
        if tensor.differing:
            count = int(np.prod(tensor.shape))
            yield f"{tensor.name}: {tensor.differing} of {count} weights differ, by up to {tensor.max_abs:.2g}"


def _verdict(
    measured: Sequence[Measured],
    tensors: Sequence[TensorDifference],
    weight_reasons: list[str],
    within_rule: bool,
    within_user: bool,
    tolerance: Tolerance,
) -> tuple[Verdict, list[str]]:
    bad = [sum(m.deviation.nonfinite[k] for m in measured) for k in (0, 1)]
    if bad[0] and bad[1] and not weight_reasons:
        return "INCONCLUSIVE", [f"both sides reach NaN or infinity ({bad[0]} and {bad[1]} values): use smaller inputs"]
    if any(bad):
        where = "both sides" if all(bad) else "the baseline" if bad[0] else "the candidate"
        return "DIFFERENT", [f"{where}: {max(bad)} states are NaN or infinite", *weight_reasons]
    if within_rule and not weight_reasons:
        if all(m.deviation.bitwise for m in measured) and not any(t.rounded for t in tensors):
            return "IDENTICAL", ["states equal bit for bit" + (", weights too" if tensors else "")]
        return "EQUIVALENT", ["every deviation is within the rule" + (", and the weights are equal" if tensors else "")]
    if within_user:
        what = "weights that differ" if within_rule else "beyond rounding"
        return "CLOSE", [f"{what}, states within {tolerance}", *weight_reasons]
    reasons = [] if within_rule else ["the deviation is beyond what rounding explains"]
    if within_rule:
        reasons = ["the deviation is small on these inputs, but the networks are not the same"]
    return "DIFFERENT", [*reasons, *weight_reasons]


def _blind(batches: Sequence[Batch]) -> str:
    """Why these inputs could not have shown a difference, where they could not; weights then have to be known."""
    if not any(np.any(batch.x) for batch in batches):
        return "all inputs are zero: an error in the kernel could not be seen"
    started = any(np.any(h) for batch in batches for h in batch.h0 or ())
    if all(batch.x.shape[1] == 1 for batch in batches) and not started:
        return "one step from zero states: an error in the recurrent kernel could not be seen"
    return ""

"""The verdict on a pair: every deviation of the square, and what may be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rnnverify.adequacy import Adequacy, Examiner
from rnnverify.behind import behind, unread
from rnnverify.clips import without_idle_clips
from rnnverify.comparison import Measured, Pair, TensorDifference
from rnnverify.deviation import UNIT, Tolerance
from rnnverify.heatmap import heat_map
from rnnverify.model_outputs import model_outputs
from rnnverify.narrowing import pattern
from rnnverify.observed import Observed, largest_deviation, magnitude, measured, provenance_reasons, same_layers
from rnnverify.remarks import remarks
from rnnverify.rounding import Budget, check
from rnnverify.step import Allowed
from rnnverify.suspects import sentences, suspects
from rnnverify.tolerance import frontier, tolerate
from rnnverify.trace import PROBE, Batch
from rnnverify.verdict import Evidence, verdict_of
from rnnverify.weights import compare_around, compare_weights, same_shapes


def judge(baseline: Observed, candidate: Observed, examiner: Examiner, tolerance: Tolerance) -> Pair:
    """Hold `candidate` against `baseline`; `examiner` knows the inputs of both.

    Raises MismatchError where their outputs have other shapes.
    """
    rule, words = _rule(baseline, candidate)
    tensors, weight_reasons, weight_remarks = _weights(baseline, candidate, examiner.batches)
    known = baseline if baseline.ran else candidate
    evidence = Evidence(
        measured=tuple(measured(baseline.trace, candidate.trace, rule)),
        rule=rule,
        tensors=tensors,
        weight_reasons=weight_reasons,
        weight_remarks=weight_remarks,
        budgets=_budgets(baseline, candidate, examiner.allowed),
        network=known.ran,
        known=known.label,
        dtype=_coarser(baseline, candidate),
        labels=(baseline.label, candidate.label),
        batches=examiner.batches,
    )
    dense = behind(baseline, candidate)
    model = model_outputs(baseline, candidate, dense, rule, examiner.allowed)
    verdict, reasons = verdict_of(evidence)
    if model and model.reasons and verdict != "DIFFERENT":
        verdict, reasons = "DIFFERENT", list(model.reasons)
    if model and verdict == "IDENTICAL" and not model.headline.deviation.bitwise:
        verdict, reasons = "EQUIVALENT", ["states equal bit for bit, the outputs of the dense layers up to rounding"]
    if verdict in ("IDENTICAL", "EQUIVALENT") and (missing := unread(baseline, candidate, dense)):
        verdict, reasons = "INCONCLUSIVE", [missing]
    adequacy = None
    if verdict in ("IDENTICAL", "EQUIVALENT") and evidence.network and evidence.judged_by_budget:
        adequacy = examiner.examine(evidence.network, evidence.dtype)
        unsettled = _unsettled(adequacy, baseline, candidate)
        if unsettled:
            verdict, reasons = "INCONCLUSIVE", [unsettled]
    own = tuple(_own_budget(side, evidence, examiner.allowed) for side in (baseline, candidate))
    suspected = _suspects(baseline, candidate) if verdict == "DIFFERENT" else ()
    headline = max(evidence.measured, key=_severity)
    pair = Pair(
        baseline=baseline.label,
        candidate=candidate.label,
        verdict=verdict,
        reasons=tuple(reasons),
        tolerance=Tolerance(),
        by_rounding=verdict,
        rounding_reasons=tuple(reasons),
        weight_reasons=weight_reasons,
        own_reasons=(*_departures(evidence.labels, own), *suspected),
        blind=evidence.blind,
        frontier=frontier(baseline.trace, candidate.trace, dense) if verdict == "DIFFERENT" else (),
        rule=rule,
        rule_words=words,
        remarks=_remarks(baseline, candidate, evidence),
        budgets=evidence.budgets,
        adequacy=adequacy,
        own_budgets=own,
        headline=headline,
        measured=evidence.measured,
        implementation_baseline=baseline.implementation,
        implementation_candidate=candidate.implementation,
        weights=largest_deviation(baseline.reference, candidate.reference),
        tensors=tensors,
        model=model,
        heat=heat_map(baseline.trace.runs[headline.batch], candidate.trace.runs[headline.batch]),
    )
    return tolerate(pair, tolerance)


def _remarks(baseline: Observed, candidate: Observed, evidence: Evidence) -> tuple[str, ...]:
    source = baseline if baseline.network else candidate
    found = remarks(source.network, source.trace, evidence.batches, known=bool(evidence.tensors))
    found = (*evidence.weight_remarks, *found)
    if baseline.arithmetic == candidate.arithmetic:
        return found
    words = ", ".join(f"{side.label} computed in {side.arithmetic}" for side in (baseline, candidate))
    return (*found, f"{words}: held to what {evidence.dtype} rounds")


def _unsettled(adequacy: Adequacy, baseline: Observed, candidate: Observed) -> str:
    """Which mistakes neither the inputs nor equal weights exclude.

    Equal weights of two files settle a mistake in the weights, and where both files state the rest, every mistake.
    """
    if baseline.network and candidate.network:
        left = adequacy.semantic if baseline.assumptions or candidate.assumptions else ()
        since = ", which is an assumption" if left else ""
    else:
        left, since = adequacy.survivors, ""
    return f"these inputs could not show that {'; that '.join(left)}{since}" if left else ""


def _departures(labels: tuple[str, str], own: Sequence[Budget | None]) -> Iterator[str]:
    for label, budget in zip(labels, own, strict=True):
        if budget and not budget.holds:
            yield (
                f"{label} departs from the weights of its own file, by {budget.used:.2g} times what rounding allows: "
                "the file may hold an attribute that is not supported, or be read wrongly"
            )


def _rule(baseline: Observed, candidate: Observed) -> tuple[Tolerance, str]:
    """The rule that stands in where states were not recorded: by the coarser dtype and the largest state."""
    coarser = _coarser(baseline, candidate)
    runs = [run for name, run in baseline.trace.runs.items() if name != PROBE]
    finals = (state[:, None] for run in runs for state in (*run.h_n, *run.c_n))
    scale = max(1.0, *(magnitude(values) for values in (*(run.y for run in runs), *finals)))
    unit = UNIT[coarser]
    return Tolerance(atol=unit * scale), f"{coarser} rule: {unit:g} x the largest state, {scale:.3g}"


def _coarser(baseline: Observed, candidate: Observed) -> str:
    """The dtype of the two whose rounding is the larger."""
    return max((baseline.arithmetic, candidate.arithmetic), key=lambda name: UNIT[name])


def _weights(
    baseline: Observed, candidate: Observed, batches: Sequence[Batch]
) -> tuple[tuple[TensorDifference, ...], tuple[str, ...], tuple[str, ...]]:
    """The tensors side by side where both are known, every way in which the networks differ, and what is idle there."""
    tensors: tuple[TensorDifference, ...] = ()
    reasons: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    if baseline.network and candidate.network:
        labels = baseline.label, candidate.label
        a, b, idle = without_idle_clips(baseline.network, candidate.network, batches, labels)
        tensors, reasons = compare_weights(a, b)
        tensors = (*tensors, *compare_around(baseline.around, candidate.around))
    if not reasons and not same_layers(baseline.trace, candidate.trace):
        reasons = ("the final states have other shapes: other layers or directions",)
    for tensor in tensors:
        if tensor.differing:
            count = int(np.prod(tensor.shape))
            words = f"{tensor.name}: {tensor.differing} of {count} weights differ, by up to {tensor.max_abs:.2g}"
            reasons = (*reasons, words)
    if any(t.differing for t in tensors) and baseline.network and candidate.network:
        narrowed = same_shapes(baseline.network, candidate.network) and pattern(
            baseline.network, candidate.network, (baseline.label, candidate.label)
        )
        reasons = (narrowed, *reasons) if narrowed else reasons
    return tensors, (*provenance_reasons(baseline, candidate), *reasons), idle


def _budgets(baseline: Observed, candidate: Observed, allowed: Allowed | None) -> tuple[Budget | None, Budget | None]:
    """Both sides against the weights of the baseline, or of the candidate where the baseline is a trace."""
    network, other = baseline.ran or candidate.ran, candidate.ran
    if network is None or (other and not same_shapes(network, other)):
        return None, None
    sides = (baseline, candidate)
    found = [check(network, list(side.trace.runs.values()), side.arithmetic, other, allowed) for side in sides]
    return found[0], found[1]


def _own_budget(side: Observed, evidence: Evidence, allowed: Allowed | None) -> Budget | None:
    """`side` against the weights of its own file; those are the baseline's unless some weight differs."""
    if side.ran is None:
        return None
    if not evidence.weight_reasons and evidence.judged_by_budget:
        return evidence.budgets[evidence.labels.index(side.label)]
    return check(side.ran, list(side.trace.runs.values()), side.arithmetic, None, allowed)


def _suspects(baseline: Observed, candidate: Observed) -> Iterator[str]:
    """Which weights of a recording seem to be wrong, where only the other side's are known."""
    for known, other in ((baseline, candidate), (candidate, baseline)):
        if known.network and not other.network:
            found = suspects(known.ran or known.network, list(other.trace.runs.values()), other.arithmetic)
            yield from sentences(found, other.label, known.label)


def _severity(measured: Measured) -> tuple[int, float]:
    return sum(measured.deviation.nonfinite), measured.deviation.max_abs

"""The verdict on a pair: every deviation of the square, and what may be said about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnverify.adequacy import Adequacy, Examiner
from rnnverify.comparison import UNIT, Measured, Pair, TensorDifference, Tolerance, Verdict
from rnnverify.narrowing import pattern
from rnnverify.observed import Observed, largest_deviation, magnitude, measured, same_layers
from rnnverify.rounding import Budget, check
from rnnverify.suspects import sentences, suspects
from rnnverify.trace import PROBE, Batch
from rnnverify.weights import compare_weights, same_shapes


@dataclass(frozen=True)
class _Evidence:
    """All that a verdict rests on."""

    measured: tuple[Measured, ...]
    tensors: tuple[TensorDifference, ...]
    weight_reasons: tuple[str, ...]  # sentences: how the networks differ, whatever the states do
    budgets: tuple[Budget | None, Budget | None]  # of both sides, against the baseline's weights
    tolerance: Tolerance
    measured_by_user: tuple[Measured, ...]  # by `tolerance`; empty where that is none
    labels: tuple[str, str]
    batches: tuple[Batch, ...] = field(repr=False)

    @property
    def judged_by_budget(self) -> bool:
        return all(budget is not None for budget in self.budgets)

    @property
    def explained(self) -> bool:
        """Whether rounding explains the states: step by step where every state was recorded, else by the rule."""
        if self.judged_by_budget:
            return all(budget.holds for budget in self.budgets if budget)
        return self.within_rule

    @property
    def within_user(self) -> bool:
        return bool(self.measured_by_user) and all(m.deviation.beyond == 0 for m in self.measured_by_user)

    @property
    def within_rule(self) -> bool:
        return all(m.deviation.beyond == 0 for m in self.measured)


def judge(baseline: Observed, candidate: Observed, examiner: Examiner, tolerance: Tolerance) -> Pair:
    """Hold `candidate` against `baseline`; `examiner` knows the inputs of both.

    Raises MismatchError where their outputs have other shapes.
    """
    rule, words = _rule(baseline, candidate)
    tensors, weight_reasons = _weights(baseline, candidate)
    evidence = _Evidence(
        measured=tuple(measured(baseline.trace, candidate.trace, rule)),
        tensors=tensors,
        weight_reasons=weight_reasons,
        budgets=_budgets(baseline, candidate),
        tolerance=tolerance,
        measured_by_user=tuple(measured(baseline.trace, candidate.trace, tolerance)) if tolerance else (),
        labels=(baseline.label, candidate.label),
        batches=examiner.batches,
    )
    verdict, reasons = _verdict(evidence)
    adequacy = _adequacy(baseline, candidate, evidence, examiner) if verdict in ("IDENTICAL", "EQUIVALENT") else None
    if adequacy and adequacy.survivors and not tensors:
        verdict = "INCONCLUSIVE"
        reasons = [f"these inputs could not show that {'; that '.join(adequacy.survivors)}"]
    own = tuple(_own_budget(side, evidence) for side in (baseline, candidate))
    for label, budget in zip(evidence.labels, own, strict=True):
        if budget and not budget.holds:
            reasons.append(
                f"{label} departs from the weights of its own file, by {budget.used:.2g} times what rounding allows: "
                "the file may hold an attribute that is not supported, or be read wrongly"
            )
    if verdict == "DIFFERENT":
        reasons += _suspects(baseline, candidate)
    by_user = bool(tolerance) and verdict in ("CLOSE", "DIFFERENT")
    shown = evidence.measured_by_user if by_user else evidence.measured
    return Pair(
        baseline=baseline.label,
        candidate=candidate.label,
        verdict=verdict,
        reasons=tuple(reasons),
        tolerance=tolerance if by_user else rule,
        rule="set by --atol and --rtol" if by_user else words,
        budgets=evidence.budgets,
        adequacy=adequacy,
        own_budgets=own,
        headline=max(shown, key=_severity),
        measured=shown,
        implementation_baseline=baseline.implementation,
        implementation_candidate=candidate.implementation,
        weights=largest_deviation(baseline.reference, candidate.reference),
        tensors=tensors,
    )


def _rule(baseline: Observed, candidate: Observed) -> tuple[Tolerance, str]:
    """The rule that stands in where states were not recorded: by the coarser dtype and the largest state."""
    coarser = _coarser(baseline, candidate)
    runs = [run for name, run in baseline.trace.runs.items() if name != PROBE]
    scale = max(1.0, *(magnitude(values) for run in runs for values in (run.y, *(h[:, None] for h in run.h_n))))
    unit = UNIT[coarser]
    return Tolerance(atol=unit * scale), f"{coarser} rule: {unit:g} x the largest state, {scale:.3g}"


def _coarser(baseline: Observed, candidate: Observed) -> str:
    """The dtype of the two whose rounding is the larger."""
    return max((baseline.arithmetic, candidate.arithmetic), key=lambda name: UNIT[name])


def _weights(baseline: Observed, candidate: Observed) -> tuple[tuple[TensorDifference, ...], tuple[str, ...]]:
    """The tensors side by side where both are known, and every way in which the networks differ."""
    tensors: tuple[TensorDifference, ...] = ()
    reasons: tuple[str, ...] = ()
    if baseline.network and candidate.network:
        tensors, reasons = compare_weights(baseline.network, candidate.network)
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
    return tensors, reasons


def _budgets(baseline: Observed, candidate: Observed) -> tuple[Budget | None, Budget | None]:
    """Both sides against the weights of the baseline, or of the candidate where the baseline is a trace."""
    network, other = baseline.network or candidate.network, candidate.network
    if network is None or (other and not same_shapes(network, other)):
        return None, None
    sides = (baseline, candidate)
    found = [check(network, list(side.trace.runs.values()), side.arithmetic, other) for side in sides]
    return found[0], found[1]


def _adequacy(baseline: Observed, candidate: Observed, evidence: _Evidence, examiner: Examiner) -> Adequacy | None:
    """What these inputs could have shown of the network that is known, where steps were judged."""
    network = baseline.network or candidate.network
    if network is None or not evidence.judged_by_budget:
        return None
    return examiner.examine(network, _coarser(baseline, candidate))


def _own_budget(side: Observed, evidence: _Evidence) -> Budget | None:
    """`side` against the weights of its own file; those are the baseline's unless some weight differs."""
    if side.network is None:
        return None
    if not evidence.weight_reasons and evidence.judged_by_budget:
        return evidence.budgets[evidence.labels.index(side.label)]
    return check(side.network, list(side.trace.runs.values()), side.arithmetic)


def _suspects(baseline: Observed, candidate: Observed) -> Iterator[str]:
    """Which weights of a recording seem to be wrong, where only the other side's are known."""
    for known, other in ((baseline, candidate), (candidate, baseline)):
        if known.network and not other.network:
            found = suspects(known.network, list(other.trace.runs.values()), other.arithmetic)
            yield from sentences(found, other.label, known.label)


def _severity(measured: Measured) -> tuple[int, float]:
    return sum(measured.deviation.nonfinite), measured.deviation.max_abs


def _verdict(evidence: _Evidence) -> tuple[Verdict, list[str]]:
    measured, weights = evidence.measured, list(evidence.weight_reasons)
    bad = [sum(m.deviation.nonfinite[k] for m in measured) for k in (0, 1)]
    if all(bad) and not weights:
        return "INCONCLUSIVE", [f"both sides reach NaN or infinity ({bad[0]} and {bad[1]} values): use smaller inputs"]
    if any(bad):
        where = "both sides" if all(bad) else "the baseline" if bad[0] else "the candidate"
        return "DIFFERENT", [f"{where}: {max(bad)} states are NaN or infinite", *weights]
    if (evidence.explained or evidence.within_user) and not weights:
        seen = [batch for batch in evidence.batches if evidence.judged_by_budget or batch.name != PROBE]
        blind = "" if evidence.tensors else _blind(seen)
        if blind:
            return "INCONCLUSIVE", [blind]
    if evidence.explained and not weights:
        return _same(evidence)
    if evidence.within_user:
        what = "weights that differ" if evidence.explained else "beyond rounding"
        return "CLOSE", [f"{what}, states within {evidence.tolerance}", *weights]
    if evidence.explained:
        return "DIFFERENT", ["the deviation is small on these inputs, but the networks are not the same", *weights]
    return "DIFFERENT", [*_unexplained(evidence), *weights]


def _same(evidence: _Evidence) -> tuple[Verdict, list[str]]:
    known = bool(evidence.tensors)
    if all(m.deviation.bitwise for m in evidence.measured) and not any(t.rounded for t in evidence.tensors):
        return "IDENTICAL", ["states equal bit for bit" + (", weights too" if known else "")]
    how = "every step is explained by rounding" if evidence.judged_by_budget else "every deviation is within the rule"
    rounded = ", up to the rounding of a summed bias" if any(t.rounded for t in evidence.tensors) else ""
    reasons = [how + (f", and the weights are equal{rounded}" if known else "")]
    if evidence.judged_by_budget and not evidence.within_rule:
        steps = [m.deviation.first_step for m in evidence.measured if m.output == "y"]
        step = min((step for step in steps if step is not None), default=None)
        since = "" if step is None else f" from step {step} on"
        reasons.append(f"the sides part{since}: this network amplifies rounding, no port can follow it")
    return "EQUIVALENT", reasons


def _unexplained(evidence: _Evidence) -> Iterator[str]:
    """What is beyond rounding, side by side."""
    if not evidence.judged_by_budget:
        yield "the deviation is beyond what rounding explains"
        return
    for label, budget in zip(evidence.labels, evidence.budgets, strict=True):
        if budget and not budget.holds:
            share = f"{budget.beyond} of {budget.checked} states of {label}"
            whose = f"the weights of {evidence.labels[0]}"
            since = "" if budget.first_step is None else f" from step {budget.first_step} on,"
            yield f"{share} do not follow from {whose},{since} even with rounding"


def _blind(batches: Sequence[Batch]) -> str:
    """Why these inputs could not have shown a difference, where they could not; weights then have to be known."""
    if not any(np.any(batch.x) for batch in batches):
        return "all inputs are zero: an error in the kernel could not be seen"
    started = any(np.any(h) for batch in batches for h in batch.h0 or ())
    if all(batch.x.shape[1] == 1 for batch in batches) and not started:
        return "one step from zero states: an error in the recurrent kernel could not be seen"
    return ""

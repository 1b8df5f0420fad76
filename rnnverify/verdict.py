"""What the evidence of a pair says: rounding, weights, and whether the inputs could have shown a difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnverify.canonical import Network
from rnnverify.comparison import Measured, TensorDifference, Verdict
from rnnverify.deviation import Tolerance
from rnnverify.rounding import Budget
from rnnverify.timeline import beginning, departure, parting
from rnnverify.trace import PROBE, Batch


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on."""

    measured: tuple[Measured, ...]
    rule: Tolerance  # that they were measured by
    tensors: tuple[TensorDifference, ...]
    weight_reasons: tuple[str, ...]  # sentences: how the networks differ, whatever the states do
    weight_remarks: tuple[str, ...]  # how they differ in what these inputs never come to
    budgets: tuple[Budget | None, Budget | None]  # of both sides, against the weights of `network`
    network: Network | None  # of the baseline, or of the candidate where the baseline is a trace
    dtype: str  # the coarser of the two
    labels: tuple[str, str]
    known: str  # the label of the side that `network` is of
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
    def within_rule(self) -> bool:
        return all(m.deviation.beyond == 0 for m in self.measured)

    @property
    def blind(self) -> str:
        """Why these inputs could not have shown a difference; empty where they could, or the weights are known."""
        seen = [batch for batch in self.batches if self.judged_by_budget or batch.name != PROBE]
        return "" if self.tensors else _blind(seen)


def verdict_of(evidence: Evidence) -> tuple[Verdict, list[str]]:
    """What rounding and the weights say; a tolerance of the user comes later."""
    measured, weights = evidence.measured, list(evidence.weight_reasons)
    bad = [sum(m.deviation.nonfinite[k] for m in measured) for k in (0, 1)]
    if all(bad) and not weights:
        return "INCONCLUSIVE", [f"both sides reach NaN or infinity ({bad[0]} and {bad[1]} values): use smaller inputs"]
    if any(bad):
        where = "both sides" if all(bad) else "the baseline" if bad[0] else "the candidate"
        return "DIFFERENT", [f"{where}: {max(bad)} states are NaN or infinite", *weights]
    if not evidence.explained:
        return "DIFFERENT", [*_unexplained(evidence), *weights]
    if weights:
        return "DIFFERENT", ["the deviation is small on these inputs, but the networks are not the same", *weights]
    if evidence.blind:
        return "INCONCLUSIVE", [evidence.blind]
    return _same(evidence)


def _same(evidence: Evidence) -> tuple[Verdict, list[str]]:
    known = bool(evidence.tensors)
    alike = not evidence.weight_remarks and not any(t.rounded for t in evidence.tensors)
    if alike and all(m.deviation.bitwise for m in evidence.measured):
        return "IDENTICAL", ["states equal bit for bit" + (", weights too" if known else "")]
    how = "every step is explained by rounding" if evidence.judged_by_budget else "every deviation is within the rule"
    rounded = ("a summed bias" if t.name.endswith(" bias") else "weight_norm" for t in evidence.tensors if t.rounded)
    words = " and of ".join(dict.fromkeys(rounded))
    reasons = [how + (", and the weights are equal" + f", up to the rounding of {words}" * bool(words)) * known]
    if evidence.judged_by_budget and not evidence.within_rule:
        limit = evidence.rule.atol
        reasons.append(parting(evidence.measured, limit, evidence.network, evidence.batches, evidence.dtype))
    return "EQUIVALENT", reasons


def _unexplained(evidence: Evidence) -> Iterator[str]:
    """What is beyond rounding, side by side."""
    if not evidence.judged_by_budget:
        yield "the deviation is beyond what rounding explains"
        since = beginning(evidence.measured, evidence.network)
        if since:
            yield since
        return
    for label, budget in zip(evidence.labels, evidence.budgets, strict=True):
        if budget and not budget.holds:
            share = f"{budget.beyond} of {budget.checked} states of {label}"
            yield f"{share} do not follow from the weights of {evidence.known}, even with rounding"
            yield departure(budget, evidence.network)


def _blind(batches: Sequence[Batch]) -> str:
    """Why these inputs could not have shown a difference, where they could not; weights then have to be known."""
    if not any(np.any(batch.x) for batch in batches):
        return "all inputs are zero: an error in the kernel could not be seen"
    started = any(np.any(state) for batch in batches for state in batch.starts)
    if all(batch.x.shape[1] == 1 for batch in batches) and not started:
        return "one step from zero states: an error in the recurrent kernel could not be seen"
    return ""

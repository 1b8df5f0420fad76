"""What the dense layers behind the recurrent part make of it, on both sides: the outputs of the whole model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rnnverify.around import Head, decided, enclosed, rule_of
from rnnverify.arrays import release
from rnnverify.behind import EVERY, Behind
from rnnverify.comparison import Measured, ModelOutputs
from rnnverify.deviation import Tolerance, measure
from rnnverify.observed import Observed
from rnnverify.step import Allowed, ratio

_BLOCK = 256  # steps


def model_outputs(
    baseline: Observed,
    candidate: Observed,
    both: Sequence[tuple[Behind, Behind]],
    rule: Tolerance,
    allowed: Allowed | None,
) -> ModelOutputs | None:
    """Both sides' outputs behind the head that they share, batch by batch; None where there is none, or it was not run.

    Each side is held against what the baseline's dense layers make of its own recorded states, as one step is.
    """
    head = baseline.around.head or candidate.around.head
    if head is None or not both:
        return None
    measured = [_measured(a, b, rule) for a, b in both]
    used = tuple(
        max(_used(head, one, side.arithmetic, allowed) for one in each)
        for side, each in zip((baseline, candidate), zip(*both, strict=True), strict=True)
    )
    flips = [_flips(head, a, b) for a, b in both]
    return ModelOutputs(
        words=str(head),
        at=next((ours.at for ours, _ in both if ours.at != EVERY), EVERY),
        headline=max(measured, key=lambda each: (sum(each.deviation.nonfinite), each.deviation.max_abs)),
        used=(used[0], used[1]),
        rule=rule_of(head),
        flips=sum(differ for differ, _ in flips),
        decisions=sum(count for _, count in flips),
        reasons=tuple(_reasons((baseline.label, candidate.label), used)),
    )


def _measured(a: Behind, b: Behind, rule: Tolerance) -> Measured:
    return Measured(a.batch, "model", measure(a.made, b.made, rule))


def _used(head: Head, behind: Behind, dtype: str, allowed: Allowed | None) -> float:
    """The largest share of what rounding allows that any output takes."""
    worst = 0.0
    for start in range(0, behind.read.shape[1], _BLOCK):
        steps = slice(start, start + _BLOCK)
        exact, reach = enclosed(head, behind.read[:, steps], dtype, allowed)
        used = ratio(np.abs(behind.made[:, steps].astype(np.float64) - exact), reach)
        worst = max(worst, float(used.max()))
        release(behind.read)
    return worst


def _flips(head: Head, a: Behind, b: Behind) -> tuple[int, int]:
    """At how many steps the two decide otherwise, and of how many."""
    rule = rule_of(head)
    if not rule:
        return 0, 0
    ours, theirs = decided(a.made, rule), decided(b.made, rule)
    return int((ours != theirs).sum()), int(ours.size)


def _reasons(labels: tuple[str, str], used: tuple[float, ...]) -> Iterator[str]:
    for label, share in zip(labels, used, strict=True):
        if not share <= 1:
            behind = f"by the dense layers of {labels[0]}, even with rounding"
            yield f"outputs of {label} do not follow from its states {behind}"

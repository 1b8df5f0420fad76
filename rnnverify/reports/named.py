"""One or several comparisons as a report takes them: each with a name, made or failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rnnverify.comparison import EXIT_CODES, Comparison, Pair, Side, Verdict
from rnnverify.errors import EXIT_ERROR, RnnverifyError, printable

Outcome = Verdict | Literal["ERROR"]

MEANINGS: dict[Outcome, str] = {
    "IDENTICAL": "Canonical weights and states are equal bit for bit.",
    "EQUIVALENT": "Rounding explains every step, and the weights are equal.",
    "CLOSE": "Beyond what rounding explains, within the tolerance that was set.",
    "INCONCLUSIVE": "Nothing differed, but these inputs could not have shown a difference.",
    "DIFFERENT": "The two networks are not the same: a deviation, or a weight, is beyond what rounding explains.",
    "ERROR": "The comparison could not be made.",
}
"""From the best to the worst."""

_NOTHING: Outcome = "ERROR"


@dataclass(frozen=True)
class Named:
    """A comparison, or why it could not be made, and what it is called."""

    name: str
    result: Comparison | RnnverifyError


def alone(result: Comparison) -> Named:
    """A comparison called after its files."""
    *first, last = [side.source for side in result.sides] or ["nothing"]
    return Named(f"{', '.join(first)} and {last}" if first else last, result)


def failed(error: RnnverifyError) -> Named:
    """A comparison that could not be made, and so has no name."""
    return Named("comparison", error)


def outcome(named: Named) -> Outcome:
    return "ERROR" if isinstance(named.result, RnnverifyError) else named.result.verdict


def overall(results: Sequence[Named]) -> tuple[Outcome, int]:
    """The worst outcome and its exit code; nothing compared is an error."""
    found = [outcome(named) for named in results]
    worst = max(found, key=list(MEANINGS).index, default=_NOTHING)
    return worst, EXIT_ERROR if worst == "ERROR" else EXIT_CODES[worst]


def pairs(result: Comparison) -> Iterator[tuple[Pair, Side, Side]]:
    """Every pair with its baseline and its candidate."""
    sides = {side.label: side for side in result.sides}
    for pair in result.pairs:
        yield pair, sides[pair.baseline], sides[pair.candidate]


def plain(text: str) -> str:
    """`text` on one line without control characters, which XML, logs and terminals do not bear."""
    return printable(text, 10_000)

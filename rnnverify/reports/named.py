"""One or several comparisons as a report takes them: each with a name, made or not, and whether it passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rnnverify.comparison import EXIT_CODES, Comparison, Pair, Side, Verdict
from rnnverify.errors import EXIT_ERROR, FileError, RnnverifyError, printable

Outcome = Verdict | Literal["ERROR"]
State = Literal["good", "doubt", "bad"]

MEANINGS: dict[Outcome, str] = {
    "IDENTICAL": "Canonical weights and states are equal bit for bit.",
    "EQUIVALENT": "Rounding explains every step, and the weights are equal.",
    "CLOSE": "Beyond what rounding explains, within the tolerance that was set.",
    "INCONCLUSIVE": "Nothing differed, but these inputs could not have shown a difference.",
    "DIFFERENT": "The two networks are not the same: a deviation, or a weight, is beyond what rounding explains.",
    "ERROR": "The comparison could not be made.",
}
"""From the best to the worst."""

STATES: dict[Outcome, State] = {
    "IDENTICAL": "good",
    "EQUIVALENT": "good",
    "CLOSE": "doubt",
    "INCONCLUSIVE": "doubt",
    "DIFFERENT": "bad",
    "ERROR": "bad",
}
"""How a verdict is to be taken where nothing else was declared."""


@dataclass(frozen=True)
class Problem:
    """Why a comparison could not be made."""

    kind: str
    message: str
    file: str = ""  # that it is about, or the last of the comparison; empty where neither is known


@dataclass(frozen=True)
class Named:
    """A comparison, or why it could not be made, and what it is called."""

    name: str
    result: Comparison | Problem
    complaints: tuple[str, ...] | None = None  # of a check: why it fails although made; None: its verdict alone counts

    @property
    def passes(self) -> bool:
        if isinstance(self.result, Problem):
            return False
        return not EXIT_CODES[self.result.verdict] if self.complaints is None else not self.complaints


def alone(result: Comparison) -> Named:
    """A comparison called after its files."""
    *first, last = [side.source for side in result.sides] or ["nothing"]
    return Named(f"{', '.join(first)} and {last}" if first else last, result)


def failed(error: RnnverifyError) -> Named:
    """A comparison that could not be made, and so has no name."""
    return Named("comparison", Problem(error.kind, str(error), error.path if isinstance(error, FileError) else ""))


def outcome(named: Named) -> Outcome:
    return "ERROR" if isinstance(named.result, Problem) else named.result.verdict


def state(named: Named) -> State:
    """How it is to be taken: by what a check declares, else by the verdict."""
    if named.complaints is None or isinstance(named.result, Problem):
        return STATES[outcome(named)]
    return "bad" if named.complaints else "doubt" if named.result.verdict == "CLOSE" else "good"


def titled(named: Named) -> str:
    """The verdict, and that a check takes it otherwise than it reads."""
    verdict = outcome(named)
    if named.complaints is None or named.passes == (STATES[verdict] != "bad" and verdict != "INCONCLUSIVE"):
        return verdict
    return f"{verdict}, as declared" if named.passes else f"{verdict}, and fails"


def overall(results: Sequence[Named]) -> tuple[State, str, int]:
    """How all of them are to be taken, in words, and the exit code of a check; nothing compared is an error."""
    if len(results) == 1:
        states, words = [state(results[0])], titled(results[0])
    else:
        states = [state(named) for named in results] or ["bad"]
        passed = sum(named.passes for named in results)
        words = f"{passed} passed, {len(results) - passed} failed" if results else "nothing was compared"
    worst: State = "bad" if "bad" in states else "doubt" if "doubt" in states else "good"
    failures = [outcome(named) for named in results if not named.passes]
    made = [verdict for verdict in failures if verdict != "ERROR"]
    if any(verdict != "INCONCLUSIVE" for verdict in made):
        return worst, words, EXIT_CODES["DIFFERENT"]
    if len(made) < len(failures) or not results:
        return worst, words, EXIT_ERROR
    return worst, words, EXIT_CODES["INCONCLUSIVE"] if made else 0


def pairs(result: Comparison) -> Iterator[tuple[Pair, Side, Side]]:
    """Every pair with its baseline and its candidate."""
    sides = {side.label: side for side in result.sides}
    for pair in result.pairs:
        yield pair, sides[pair.baseline], sides[pair.candidate]


def plain(text: str) -> str:
    """`text` on one line without control characters, which XML, logs and terminals do not bear."""
    return printable(text, 10_000)

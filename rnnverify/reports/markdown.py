"""GitHub flavoured Markdown, for a job summary or a comment on a pull request: the verdict first, details folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rnnverify.comparison import Comparison, Pair, Side
from rnnverify.errors import RnnverifyError
from rnnverify.reports.named import (
    MEANINGS,
    Named,
    Problem,
    State,
    alone,
    failed,
    outcome,
    overall,
    pairs,
    plain,
    state,
    titled,
)
from rnnverify.reports.words import (
    WEIGHT_COLUMNS,
    all_equal,
    at_most,
    environment,
    inputs,
    largest,
    mistake,
    numbers,
    remedy,
    replay,
    side_rows,
    unequal,
    weight_row,
    witness,
)

_SIGNS: dict[State, str] = {"good": "✅", "doubt": "⚠️", "bad": "❌"}
_TENSORS_SHOWN, _LINES_SHOWN = 50, 20
_SHOWN_WHOLE = 20  # comparisons; of more, only those that fail: GitHub takes no summary above 1 MiB
_SPECIAL = "\\*_{}[]()#+-!~$"


def render(result: Comparison, **_: object) -> str:
    """A comparison that was made."""
    return render_many([alone(result)])


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    return render_many([failed(error)])


def render_many(results: Sequence[Named], **_: object) -> str:
    """Several, each with its name; a table of all verdicts where there is more than one."""
    parts: list[str] = []
    if len(results) != 1:
        rows = [(f"{_SIGNS[state(named)]} {titled(named)}", _escaped(named.name), _largest(named)) for named in results]
        worst, words, _code = overall(results)
        parts += [f"## {_SIGNS[worst]} {words}", _table(("verdict", "comparison", "deviation"), rows)]
    for named in results:
        if len(results) <= _SHOWN_WHOLE or not named.passes:
            parts += _comparison(named)
    return "\n\n".join(part for part in parts if part) + "\n"


def _comparison(named: Named) -> Iterator[str]:
    verdict = outcome(named)
    yield f"### {_SIGNS[state(named)]} {titled(named)}: {_escaped(named.name)}"
    if isinstance(named.result, Problem):
        yield _escaped(named.result.message)
        return
    result = named.result
    yield _escaped(MEANINGS[verdict])
    yield "\n".join(f"- {_escaped(complaint)}" for complaint in named.complaints or ())
    for pair, baseline, candidate in pairs(result):
        yield from _pair(pair, baseline, candidate)
    if result.witness:
        yield f"**Witness** {_escaped(witness(result.witness))}"
        yield _code_block(replay(result.witness))
    yield _folded("Sides, inputs and environment", _sides(result))


def _largest(named: Named) -> str:
    return "" if isinstance(named.result, Problem) else largest(named.result)


def _pair(pair: Pair, baseline: Side, candidate: Side) -> Iterator[str]:
    names = f"{pair.candidate} {candidate.source} against {pair.baseline} {baseline.source}"
    yield f"**{pair.verdict}** {_escaped(names)}"
    yield "\n".join(f"- {_escaped(reason)}" for reason in pair.reasons)
    if pair.findings:
        advice = [f"- **{_escaped(mistake(finding))}**: {_escaped(finding.advice)}" for finding in pair.findings]
        yield "\n".join(["What went wrong:", "", *advice])
        code = [line for finding in pair.findings for line in remedy(finding, _LINES_SHOWN)]
        yield _code_block("\n".join(code), "python") if code else ""
    measured = [(name, _escaped(value)) for name, value in numbers(pair)]
    if at_most(pair):
        measured.append(("at most", _escaped(at_most(pair))))
    yield _folded("Numbers", [_table(("", "measured"), measured)])
    if pair.tensors:
        yield _folded("Weights", [_weights(pair)])


def _weights(pair: Pair) -> str:
    changed = unequal(pair.tensors)
    if not changed:
        return _escaped(all_equal(pair.tensors))
    rows = [tuple(_escaped(cell) for cell in weight_row(tensor)) for tensor in changed[:_TENSORS_SHOWN]]
    left = len(changed) - len(rows)
    return _table(WEIGHT_COLUMNS, rows) + (f"\n\n{left} more that differ" if left else "")


def _sides(result: Comparison) -> Iterator[str]:
    for side in result.sides:
        yield f"**{side.label}** {_escaped(side.source)}"
        yield _table(("", "side"), [(name, _escaped(text)) for name, text in side_rows(side)])
    yield f"Inputs: {_escaped(inputs(result))}"
    yield from (f"Differs: {_escaped(words)}" for words in environment(result))


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are escaped already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _folded(title: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"<details><summary>{title}</summary>", *parts, "</details>"])


def _code_block(text: str, language: str = "shell") -> str:
    """`text` between fences longer than any row of backticks in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}" if text else ""


def _escaped(text: str) -> str:
    """`text` on one line, as it is: no markup, no HTML, no mention, no link, no end of a table's cell."""
    entities = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;", "@": "&#64;", "`": "&#96;", ":": "&#58;"}
    escaped = "".join(entities.get(c) or (f"\\{c}" if c in _SPECIAL else c) for c in plain(text))
    return escaped.replace("www.", "www&#46;")

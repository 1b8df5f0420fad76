"""One HTML file that needs nothing else: readable offline, on a phone, in light and dark; no script, no request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from rnnverify.comparison import Comparison, Pair
from rnnverify.errors import RnnverifyError
from rnnverify.reports.named import MEANINGS, Named, Outcome, alone, failed, outcome, overall, pairs, plain
from rnnverify.reports.plots import plots
from rnnverify.reports.words import (
    WEIGHT_COLUMNS,
    all_equal,
    environment,
    evidence,
    inputs,
    mistake,
    number,
    numbers,
    remedy,
    replay,
    side_rows,
    square,
    unequal,
    weight_row,
    witness,
)

_STYLE = """
:root { color-scheme: light dark; --line: #ccc; --good: #1a7f37; --doubt: #9a6700; --bad: #cf222e }
@media (prefers-color-scheme: dark) { :root { --line: #444; --good: #3fb950; --doubt: #d29922; --bad: #f85149 } }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem } th { white-space: nowrap }
th, td { text-align: left; padding: .2rem .6rem; vertical-align: top; border-bottom: 1px solid var(--line) }
th, td:first-child { overflow-wrap: normal }
svg { width: 100%; height: auto; display: block } figure { margin: 1rem 0 } pre { white-space: pre-wrap }
.good { color: var(--good) } .doubt { color: var(--doubt) } .bad { color: var(--bad) }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_CLASSES: dict[Outcome, str] = {
    "IDENTICAL": "good",
    "EQUIVALENT": "good",
    "CLOSE": "doubt",
    "INCONCLUSIVE": "doubt",
    "DIFFERENT": "bad",
    "ERROR": "bad",
}
_TENSORS_SHOWN, _LINES_SHOWN = 200, 50


def render(result: Comparison, **_: object) -> str:
    """A comparison that was made."""
    return render_many([alone(result)])


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    return render_many([failed(error)])


def render_many(results: Sequence[Named], **_: object) -> str:
    """Several on one page, each with its name; a table of all verdicts where there is more than one."""
    worst, _code = overall(results)
    parts = [f"<h1>rnnverify: {_verdict(worst)}</h1>"]
    if len(results) > 1:
        parts.append(_table(("verdict", "comparison"), ((outcome(named), named.name) for named in results)))
    for named in results:
        parts += _comparison(named)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>rnnverify: {worst}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _comparison(named: Named) -> Iterator[str]:
    yield f"<h2>{_verdict(outcome(named))} {_text(named.name)}</h2>"
    if isinstance(named.result, RnnverifyError):
        yield f"<p>{_text(str(named.result))}</p>"
        return
    result = named.result
    yield f"<p>{_text(MEANINGS[outcome(named)])}</p>"
    for pair, baseline, candidate in pairs(result):
        yield f"<h3>{_text(f'{pair.candidate} {candidate.source} against {pair.baseline} {baseline.source}')}</h3>"
        yield from _pair(pair)
    yield from (f"<figure><figcaption>{_text(title)}</figcaption>{svg}</figure>" for title, svg in plots(result))
    if result.witness:
        yield f"<h3>Witness</h3><p>{_text(witness(result.witness))}</p>"
        if result.witness.command:
            yield f"<pre>{_text(replay(result.witness))}</pre>"
    yield "<h3>Sides, inputs and environment</h3>"
    for side in result.sides:
        yield f"<h4>{_text(f'{side.label} {side.source}')}</h4>"
        ran = [*side.versions.items(), *side.environment.items()]
        yield _table((), [*side_rows(side), *((name, str(value)) for name, value in ran)])
    yield f"<p>{_text(f'Inputs: {inputs(result)}')}</p>"
    yield from (f"<p>{_text(f'Differs: {words}')}</p>" for words in environment(result))


def _pair(pair: Pair) -> Iterator[str]:
    yield f"<p>{_verdict(pair.verdict)}</p><ul>{''.join(f'<li>{_text(reason)}</li>' for reason in pair.reasons)}</ul>"
    for finding in pair.findings:
        yield f"<p><strong>{_text(mistake(finding))}</strong> {_text(finding.advice)}</p>"
        code = "\n".join(_text(line) for line in remedy(finding, _LINES_SHOWN))
        yield f"<pre>{code}</pre>" if code else ""
    if pair.findings:
        yield f"<p>{_text(evidence(pair.findings))}</p>"
    if square(pair):
        rows = [("headline: the two runs", number(pair.headline.deviation.max_abs))]
        rows += [(f"at most: {words}", number(value)) for value, words in square(pair)]
        yield "<h4>The square</h4>" + _table((), rows)
    yield "<h4>Numbers</h4>" + _table((), numbers(pair))
    if pair.tensors:
        changed = unequal(pair.tensors)
        rest = len(changed) - _TENSORS_SHOWN
        yield "<h4>Weights side by side</h4>"
        yield _table(WEIGHT_COLUMNS, map(weight_row, changed[:_TENSORS_SHOWN])) if changed else ""
        yield f"<p>{_text(f'{rest} more that differ' if rest > 0 else '' if changed else all_equal(pair.tensors))}</p>"


def _verdict(verdict: Outcome) -> str:
    return f'<span class="{_CLASSES[verdict]}">{verdict}</span>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is wider than the page; without columns the rows name themselves."""
    head = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in columns)}</tr>" if columns else ""
    lines = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{lines}</table></div>'


def _text(text: str) -> str:
    return escape(plain(text))

"""One HTML file that needs nothing else: readable offline, on a phone, in light and dark; no script, no request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from rnnverify.comparison import Comparison, Pair, Side
from rnnverify.errors import RnnverifyError
from rnnverify.reports.named import (
    MEANINGS,
    STATES,
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
from rnnverify.reports.plots import plots
from rnnverify.reports.square import drawing
from rnnverify.reports.words import (
    WEIGHT_COLUMNS,
    all_equal,
    at_most,
    environment,
    evidence,
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

_STYLE = """
:root { color-scheme: light dark; --line: #ccc; --good: #1a7f37; --doubt: #9a6700; --bad: #cf222e }
@media (prefers-color-scheme: dark) { :root { --line: #444; --good: #3fb950; --doubt: #d29922; --bad: #f85149 } }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .9rem } th { white-space: nowrap }
th, td { text-align: left; padding: .2rem .6rem; vertical-align: top; border-bottom: 1px solid var(--line) }
th, td { overflow-wrap: normal } td:last-child { overflow-wrap: anywhere; min-width: 7rem }
svg { width: 100%; max-width: 42rem; height: auto; display: block }
figure { margin: 1rem 0 } pre { white-space: pre-wrap } summary h2 { display: inline } details { margin: 1rem 0 }
.good { color: var(--good) } .doubt { color: var(--doubt) } .bad { color: var(--bad) }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_TENSORS_SHOWN, _LINES_SHOWN = 200, 50
_DRAWN = 20  # comparisons whose plots are drawn: each takes a quarter of a second, and a tenth of a megabyte


def render(result: Comparison, **_: object) -> str:
    """A comparison that was made."""
    return render_many([alone(result)])


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    return render_many([failed(error)])


def render_many(results: Sequence[Named], **_: object) -> str:
    """Several on one page, each with its name; a table of all verdicts where there is more than one."""
    worst, words, _code = overall(results)
    parts = [f"<h1>rnnverify: {_marked(worst, words)}</h1>"]
    if len(results) == 1:
        parts += [_heading(results[0]), *_comparison(results[0], drawn=True)]
    else:
        parts.append(_all(results))
        failing_first = sorted(range(len(results)), key=lambda k: results[k].passes)
        drawn = set(failing_first[:_DRAWN])
        for k, named in enumerate(results):
            parts.append(f'<details id="c{k}"{" open" * (not named.passes)}><summary>{_heading(named)}</summary>')
            parts += [*_comparison(named, k in drawn), "</details>"]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>rnnverify: {words}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _all(results: Sequence[Named]) -> str:
    """A table of all verdicts, each with a link to its comparison."""
    rows = []
    for k, named in enumerate(results):
        size = "" if isinstance(named.result, Problem) else largest(named.result)
        link = f'<a href="#c{k}">{_text(named.name)}</a>'
        rows.append(f"<tr><td>{_marked(state(named), titled(named))}</td><td>{link}</td><td>{_text(size)}</td></tr>")
    head = "<tr><th>verdict</th><th>comparison</th><th>deviation</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _heading(named: Named) -> str:
    return f"<h2>{_marked(state(named), titled(named))} {_text(named.name)}</h2>"


def _comparison(named: Named, drawn: bool) -> Iterator[str]:
    """The verdict and what it rests on; with the plots where they are `drawn`."""
    if isinstance(named.result, Problem):
        yield f"<p>{_text(named.result.message)}</p>"
        return
    result = named.result
    yield f"<p>{_text(MEANINGS[outcome(named)])}</p>"
    if named.complaints:
        yield _list(named.complaints)
    for pair, baseline, candidate in pairs(result):
        yield f"<h3>{_text(f'{pair.candidate} {candidate.source} against {pair.baseline} {baseline.source}')}</h3>"
        yield from _pair(pair, baseline, candidate)
    if drawn:
        yield from (f"<figure><figcaption>{_text(title)}</figcaption>{svg}</figure>" for title, svg in plots(result))
    else:
        yield f"<p>Plots are drawn of {_DRAWN} comparisons, failures first; a report of this one alone has them.</p>"
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


def _pair(pair: Pair, baseline: Side, candidate: Side) -> Iterator[str]:
    yield f"<p>{_marked(STATES[pair.verdict], pair.verdict)}</p>{_list(pair.reasons)}"
    for finding in pair.findings:
        yield f"<p><strong>{_text(mistake(finding))}</strong> {_text(finding.advice)}</p>"
        code = "\n".join(_text(line) for line in remedy(finding, _LINES_SHOWN))
        yield f"<pre>{code}</pre>" if code else ""
    if pair.findings:
        yield f"<p>{_text(evidence(pair.findings))}</p>"
    yield f"<h4>The square</h4><figure>{drawing(pair, baseline, candidate)}</figure>"
    if at_most(pair):
        yield f"<p>{_text(f'The headline is at most the other three edges together: {at_most(pair)}')}</p>"
    yield "<h4>Numbers</h4>" + _table((), numbers(pair))
    if pair.tensors:
        changed = unequal(pair.tensors)
        rest = len(changed) - _TENSORS_SHOWN
        yield "<h4>Weights side by side</h4>"
        yield _table(WEIGHT_COLUMNS, map(weight_row, changed[:_TENSORS_SHOWN])) if changed else ""
        yield f"<p>{_text(f'{rest} more that differ' if rest > 0 else '' if changed else all_equal(pair.tensors))}</p>"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(sentence)}</li>' for sentence in sentences)}</ul>"


def _marked(state: State, words: str) -> str:
    return f'<span class="{state}">{_text(words)}</span>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself where it is wider than the page; without columns the rows name themselves."""
    head = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in columns)}</tr>" if columns else ""
    lines = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{lines}</table></div>'


def _text(text: str) -> str:
    return escape(plain(text))

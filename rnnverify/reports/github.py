"""Annotations of GitHub Actions: one workflow command on a line, `::error file=...,title=...::message`.

https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rnnverify.comparison import EXIT_CODES, Comparison, Verdict
from rnnverify.errors import RnnverifyError
from rnnverify.reports.named import Named, Problem, alone, failed, pairs, plain
from rnnverify.sides import parse

_LEVELS: dict[Verdict, str] = {
    "IDENTICAL": "notice",
    "EQUIVALENT": "notice",
    "CLOSE": "warning",
    "INCONCLUSIVE": "warning",
    "DIFFERENT": "error",
}


def render(result: Comparison, **_: object) -> str:
    """A comparison that was made."""
    return render_many([alone(result)])


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    return render_many([failed(error)])


def render_many(results: Sequence[Named], **_: object) -> str:
    """Several, each with its name."""
    return "".join(line + "\n" for named in results for line in _commands(named))


def _commands(named: Named) -> Iterator[str]:
    if isinstance(named.result, Problem):
        yield _command("error", named.result.file, f"ERROR: {named.name}", named.result.message)
        return
    for pair, baseline, candidate in pairs(named.result):
        path = str(parse(candidate.source, candidate.label).path)
        accepted = bool(EXIT_CODES[pair.verdict]) and named.complaints is not None and named.passes
        words = (*pair.reasons, *(finding.name for finding in pair.findings))
        yield _command(
            "notice" if accepted else _LEVELS[pair.verdict],
            path,
            f"{pair.verdict}{', as declared' * accepted}: {named.name}",
            f"{candidate.source} against {baseline.source}: {'; '.join(words)}",
        )
    if named.complaints:
        path = str(parse(named.result.sides[-1].source, named.result.sides[-1].label).path)
        yield _command("error", path, f"failed: {named.name}", "; ".join(named.complaints))


def _command(level: str, path: str, title: str, message: str) -> str:
    properties = {"file": path, "title": f"rnnverify {title}"}
    given = ",".join(f"{key}={_property(plain(value))}" for key, value in properties.items() if value)
    return f"::{level} {given}::{_data(plain(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

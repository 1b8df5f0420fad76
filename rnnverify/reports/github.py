"""Annotations of GitHub Actions: one workflow command on a line, `::error file=...,title=...::message`.

https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rnnverify.comparison import Comparison
from rnnverify.errors import FileError, RnnverifyError
from rnnverify.reports.named import Named, Outcome, alone, failed, pairs, plain
from rnnverify.sides import parse

_LEVELS: dict[Outcome, str] = {
    "IDENTICAL": "notice",
    "EQUIVALENT": "notice",
    "CLOSE": "warning",
    "INCONCLUSIVE": "warning",
    "DIFFERENT": "error",
    "ERROR": "error",
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
    if isinstance(named.result, RnnverifyError):
        path = named.result.path if isinstance(named.result, FileError) else ""
        yield _command("ERROR", path, named.name, str(named.result))
        return
    for pair, baseline, candidate in pairs(named.result):
        size = f"{candidate.source} against {baseline.source}: "
        yield _command(
            pair.verdict,
            str(parse(candidate.source, candidate.label).path),
            named.name,
            size + "; ".join((*pair.reasons, *(finding.name for finding in pair.findings))),
        )


def _command(outcome: Outcome, path: str, name: str, message: str) -> str:
    properties = {"file": path, "title": f"rnnverify {outcome}: {name}"}
    given = ",".join(f"{key}={_property(plain(value))}" for key, value in properties.items() if value)
    return f"::{_LEVELS[outcome]} {given}::{_data(plain(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")

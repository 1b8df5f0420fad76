"""SARIF 2.1.0, as code scanning reads it: a result for each pair that needs a look, at the file of its candidate.

A pair that passed is no result, or it would be shown as an alert: all verdicts are in the properties of the run.
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from rnnverify import __version__
from rnnverify.comparison import EXIT_CODES, Comparison
from rnnverify.errors import RnnverifyError
from rnnverify.reports.named import MEANINGS, Named, Problem, alone, failed, outcome, overall, pairs, plain
from rnnverify.sides import parse

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
Rule = Literal["CLOSE", "INCONCLUSIVE", "DIFFERENT", "ERROR", "CHECK"]

_LEVELS: dict[Rule, str] = {
    "CLOSE": "note",
    "INCONCLUSIVE": "warning",
    "DIFFERENT": "error",
    "ERROR": "error",
    "CHECK": "error",
}
"""What is reported, and how loudly."""
_CHECK = "The comparison was made, and is not what is declared or locked."


def render(result: Comparison, **_: object) -> str:
    """A comparison that was made."""
    return render_many([alone(result)])


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    return render_many([failed(error)])


def render_many(results: Sequence[Named], **_: object) -> str:
    """Several, each with its name."""
    failures = [named.result for named in results if isinstance(named.result, Problem)]
    notifications = [{"level": "error", "message": {"text": plain(problem.message)}} for problem in failures]
    verdicts = [{"name": plain(each.name), "verdict": outcome(each), "passed": each.passes} for each in results]
    run = {
        "tool": {"driver": {"name": "rnnverify", "semanticVersion": __version__, "rules": _rules()}},
        "invocations": [
            {
                "executionSuccessful": not failures,
                "exitCode": overall(results)[2],
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": [finding for named in results for finding in _findings(named)],
        "properties": {"verdicts": verdicts},
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _rules() -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "name": name.capitalize(),
            "shortDescription": {"text": _CHECK if name == "CHECK" else MEANINGS[name]},
            "defaultConfiguration": {"level": level},
        }
        for name, level in _LEVELS.items()
    ]


def _findings(named: Named) -> Iterator[dict[str, Any]]:
    if isinstance(named.result, Problem):
        paths = [Path(named.result.file)] if named.result.file else []
        yield _finding("ERROR", f"{named.name}: {named.result.message}", paths, named.name)
        return
    accepted = named.complaints is not None and named.passes
    for pair, baseline, candidate in pairs(named.result):
        if pair.verdict in ("CLOSE", "INCONCLUSIVE", "DIFFERENT") and not (accepted and EXIT_CODES[pair.verdict]):
            words = (*pair.reasons, *(finding.name for finding in pair.findings))
            text = f"{candidate.source} against {baseline.source}: {'; '.join(words)}"
            paths = [parse(side.source, side.label).path for side in (candidate, baseline)]
            yield _finding(pair.verdict, text, paths, f"{named.name} {pair.baseline} {pair.candidate}")
    if named.complaints:
        paths = [parse(side.source, side.label).path for side in reversed(named.result.sides)]
        yield _finding("CHECK", f"{named.name}: {'; '.join(named.complaints)}", paths, f"{named.name} check")


def _finding(rule: Rule, text: str, paths: Sequence[Path], key: str) -> dict[str, Any]:
    """A result at the first of `paths`; the others are related. `key` tells it from others, run after run."""
    locations = [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}} for path in paths]
    return {
        "ruleId": rule,
        "ruleIndex": list(_LEVELS).index(rule),
        "level": _LEVELS[rule],
        "message": {"text": plain(text)},
        "locations": locations[:1],
        "relatedLocations": locations[1:],
        "partialFingerprints": {"comparison/v1": hashlib.sha256(plain(key).encode()).hexdigest()},
    }


def _uri(path: Path) -> str:
    """A relative reference where `path` is relative, so that it is found below the root of the repository."""
    if path.is_absolute():
        return "file://" + quote(plain(path.as_posix()))
    return quote(plain(path.as_posix()))

"""JUnit XML, as build servers read it: a suite for each comparison, a test case for each pair.

The elements are those of Jenkins' xunit plug-in (junit-10.xsd). DIFFERENT and INCONCLUSIVE are failures: a pair that
these inputs could not judge has not passed; of a check, that counts which it declares. What could not be compared is an
error.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from rnnverify.comparison import EXIT_CODES, Comparison
from rnnverify.errors import RnnverifyError
from rnnverify.reports.named import Named, Problem, alone, failed, pairs, plain
from rnnverify.reports.words import numbers


def render(result: Comparison, **_: object) -> str:
    """A comparison that was made."""
    return render_many([alone(result)])


def render_error(error: RnnverifyError) -> str:
    """A comparison that could not be made."""
    return render_many([failed(error)])


def render_many(results: Sequence[Named], **_: object) -> str:
    """Several, each with its name."""
    suites = [_suite(named) for named in results]
    counts = {name: str(sum(int(suite.attrib[name]) for suite in suites)) for name in ("tests", "failures", "errors")}
    root = Element("testsuites", {"name": "rnnverify", **counts})
    root.extend(suites)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _suite(named: Named) -> Element:
    suite = Element("testsuite", {"name": plain(named.name)})
    if isinstance(named.result, Problem):
        message = plain(named.result.message)
        case = _case(suite, named, "comparison")
        SubElement(case, "error", {"type": named.result.kind, "message": message}).text = message
    else:
        for pair, baseline, candidate in pairs(named.result):
            case = _case(suite, named, f"{candidate.source} against {baseline.source}")
            reasons = [plain(reason) for reason in pair.reasons]
            if EXIT_CODES[pair.verdict] and not (named.complaints is not None and named.passes):
                about = {"type": pair.verdict, "message": "; ".join(reasons[:1])}
                SubElement(case, "failure", about).text = "\n".join(reasons)
            measured = [f"{name}: {plain(value)}" for name, value in numbers(pair)]
            SubElement(case, "system-out").text = "\n".join([pair.verdict, *reasons, *measured])
        if named.complaints:
            complaints = [plain(complaint) for complaint in named.complaints]
            case = _case(suite, named, "what is declared")
            about = {"type": "check", "message": complaints[0]}
            SubElement(case, "failure", about).text = "\n".join(complaints)
    counted = {"failures": len(suite.findall("*/failure")), "errors": len(suite.findall("*/error")), "skipped": 0}
    suite.attrib.update({name: str(count) for name, count in {"tests": len(suite), **counted}.items()})
    return suite


def _case(suite: Element, named: Named, name: str) -> Element:
    return SubElement(suite, "testcase", {"classname": plain(named.name), "name": plain(name)})

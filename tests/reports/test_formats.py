"""The formats of other programs: what they say, and that no name of a file breaks out of its place."""

import json
import re
from xml.etree import ElementTree

import pytest
from comparisons import DIFFERENT, EQUIVALENT, THREE, named

from rnnverify.comparison import Comparison
from rnnverify.errors import FileError, MismatchError
from rnnverify.reports import FORMATS, comparison_report, github, junit, many_report, markdown, sarif
from rnnverify.reports.named import Named, Problem, outcome, overall, titled

HOSTILE = "</details>|`x` [a](http://b) @me\n::error::c,d:e%0A\x00\x1b[31m]]>&<script>alert(1)</script>\ud800"
MISSING = FileError(HOSTILE, "there is no such file")
GONE = Named("gone", Problem(MISSING.kind, str(MISSING), MISSING.path))
SEVERAL = [Named("good", EQUIVALENT), Named("bad", DIFFERENT), GONE]


def test_the_worst_of_several_counts() -> None:
    assert [outcome(each) for each in SEVERAL] == ["EQUIVALENT", "DIFFERENT", "ERROR"]
    assert overall(SEVERAL) == ("bad", "1 passed, 2 failed", 1)
    assert overall([SEVERAL[0], GONE]) == ("bad", "1 passed, 1 failed", 2)
    assert overall(SEVERAL[1:2]) == ("bad", "DIFFERENT", 1) and overall([GONE]) == ("bad", "ERROR", 2)
    assert overall(SEVERAL[:1]) == ("good", "EQUIVALENT", 0) and overall([]) == ("bad", "nothing was compared", 2)


@pytest.mark.parametrize("name", FORMATS)
def test_all_end_in_a_line_break_and_hold_no_control(name: str) -> None:
    if name == "html":
        pytest.importorskip("matplotlib", reason="it is an extra")
    report = comparison_report(name)  # type: ignore[arg-type]  # the names of FORMATS, as strings
    for text in (report.render(named(HOSTILE)), report.render_error(MISSING)):
        assert text.endswith("\n") or (name == "terminal" and not text)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_junit_counts_what_failed() -> None:
    root = ElementTree.fromstring(junit.render_many(SEVERAL))
    assert {name: root.attrib[name] for name in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    assert [len(case) for case in root.iter("testcase")] == [1, 2, 1]
    (failure,) = root.iter("failure")
    assert failure.attrib["type"] == "DIFFERENT" and "40 of 40 weights differ" in str(failure.text)
    (error,) = root.iter("error")
    assert error.attrib["type"] == "file" and "there is no such file" in error.attrib["message"]


def test_junit_holds_hostile_names_as_text() -> None:
    root = ElementTree.fromstring(junit.render(named(HOSTILE)))
    assert "<script>alert(1)</script>" in next(root.iter("testsuite")).attrib["name"]
    assert {element.tag for element in root.iter()} == {
        "testsuites",
        "testsuite",
        "testcase",
        "failure",
        "system-out",
    }


def results(text: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    log = json.loads(text)
    (run,) = log["runs"]
    return run, run["results"]


def test_sarif_names_the_file_and_the_rule() -> None:
    run, found = results(sarif.render(DIFFERENT))
    (finding,) = found
    assert (finding["ruleId"], finding["level"]) == ("DIFFERENT", "error")
    assert finding["locations"] == [{"physicalLocation": {"artifactLocation": {"uri": "model.pt"}}}]
    assert run["invocations"] == [{"executionSuccessful": True, "exitCode": 1, "toolExecutionNotifications": []}]


def test_sarif_says_nothing_of_what_passed_and_tells_an_error() -> None:
    run, found = results(sarif.render(EQUIVALENT))
    assert found == [] and run["properties"] == {
        "verdicts": [{"name": "model.h5 and model.pt#encoder.rnn", "verdict": "EQUIVALENT", "passed": True}]
    }
    run, found = results(sarif.render_error(MISSING))
    assert [finding["ruleId"] for finding in found] == ["ERROR"]


def test_github_is_one_command_on_a_line() -> None:
    assert github.render(EQUIVALENT).startswith("::notice file=model.pt,title=rnnverify EQUIVALENT%3A model.h5 and ")
    assert github.render_error(MismatchError("50% of, a: b")) == (
        "::error title=rnnverify ERROR%3A comparison::50%25 of, a: b\n"
    )
    lines = github.render(named(HOSTILE)).splitlines()
    assert len(lines) == len(THREE.pairs)
    for line in lines:
        match = re.fullmatch(r"::(notice|warning|error) (file=[^,:]+,)title=[^,:]+::(.+)", line)
        assert match, line


def test_markdown_folds_the_details_and_leads_with_the_verdict() -> None:
    text = markdown.render(DIFFERENT)
    assert text.startswith("### ❌ DIFFERENT: model.h5 and model.pt")
    assert text.count("<details>") == text.count("</details>") == 3
    assert "| layer 0 kernel | 5 x 8 | 40 of 40 | 0.25 |" in text
    text = markdown.render_many(SEVERAL)
    assert text.startswith("## ❌ 1 passed, 2 failed\n\n| verdict | comparison | deviation |\n| --- | --- | --- |\n")
    assert "\n| ✅ EQUIVALENT | good | 1.2e-07 |\n" in text and "\n| ❌ ERROR | gone |  |\n" in text


@pytest.mark.parametrize("result", [EQUIVALENT, DIFFERENT, THREE])
def test_markdown_tables_have_equal_rows(result: Comparison) -> None:
    for block in markdown.render(result).split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_markdown_takes_hostile_names_as_text() -> None:
    text = markdown.render(named(HOSTILE)) + markdown.render_error(MISSING)
    assert set(re.findall(r"</?[a-z]+>", text)) == {"<details>", "</details>", "<summary>", "</summary>"}
    assert text.count("<details>") == text.count("</details>")
    assert "@" not in text and "http:" not in text and "[a](" not in text and "`" not in text


def test_of_many_only_those_that_fail_are_shown_whole() -> None:
    text = markdown.render_many([*(Named(f"good {k}", EQUIVALENT) for k in range(20)), *SEVERAL[1:]])
    assert text.count("### ") == 2 and text.count("\n| ✅ EQUIVALENT |") == 20


def test_what_a_check_declares_counts_more_than_the_verdict() -> None:
    expected, broken = Named("as it was", DIFFERENT, ()), Named("locked", EQUIVALENT, ("its weights changed",))
    assert expected.passes and not broken.passes
    assert (titled(expected), titled(broken)) == ("DIFFERENT, as declared", "EQUIVALENT, and fails")
    assert titled(Named("a", EQUIVALENT, ())) == "EQUIVALENT" and titled(Named("a", DIFFERENT, ("so",))) == "DIFFERENT"
    assert overall([expected]) == ("good", "DIFFERENT, as declared", 0) and overall([broken])[::2] == ("bad", 1)
    root = ElementTree.fromstring(junit.render_many([expected, broken]))
    assert [case.attrib["name"] for case in root.iter("testcase") if case.find("failure") is not None] == [
        "what is declared"
    ]
    assert root.attrib["failures"] == "1" and root.attrib["tests"] == "3"
    _, found = results(sarif.render_many([expected, broken]))
    assert [(each["ruleId"], each["level"]) for each in found] == [("CHECK", "error")]
    lines = github.render_many([expected, broken]).splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::notice", "::notice", "::error"]
    assert "its weights changed" in lines[2] and lines[2].startswith("::error file=model.pt,")
    assert "- its weights changed" in markdown.render_many([broken])


def test_several_keep_their_order() -> None:
    for name in ("markdown", "junit", "github"):
        text = many_report(name).render_many(SEVERAL)
        assert text.index("bad") < text.index("gone")

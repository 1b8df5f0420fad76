"""`rnnverify check --report FORMAT=FILE`: all comparisons in every format, made or not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft4Validator, Draft202012Validator
from lxml import etree

from rnnverify.check import Checked, check
from rnnverify.config import read_config
from rnnverify.reports import FORMATS, checked

SCHEMAS = Path(__file__).parent / "reports" / "schemas"
CONFIG = """
[defaults]
engine = "reference"
steps = 8
[[compare]]
name = "good"
sides = ["simple_rnn.h5", "rnn.pt"]
[[compare]]
name = "wrong"
sides = ["rnn.pt", "recurrent_transposed.pt"]
[[compare]]
name = "wrong, as it was"
sides = ["rnn.pt", "recurrent_transposed.pt"]
expect = "DIFFERENT"
[[compare]]
name = "better"
sides = ["simple_rnn.h5", "rnn.pt"]
expect = "INCONCLUSIVE"
[[compare]]
name = "gone"
sides = ["rnn.pt", "gone.pt"]
[[compare]]
name = "other"
sides = ["rnn.pt", "two_parts.pt#module.above"]
"""


@pytest.fixture
def folder(tmp_path: Path, fixtures: Path) -> Path:
    for name in ("simple_rnn.h5", "rnn.pt", "wrong/recurrent_transposed.pt", "two_parts.pt"):
        shutil.copy(fixtures / name, tmp_path)
    (tmp_path / "rnnverify.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Checked:
    monkeypatch.chdir(folder)
    return check(read_config(Path("rnnverify.toml")))


def test_all_formats_are_written_in_one_run(folder: Path, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    pytest.importorskip("matplotlib", reason="it is an extra")
    options = [part for name in FORMATS for part in ("--report", f"{name}={name}.out")]
    result = run("check", *options)
    assert result.returncode == 1 and "2 passed, 4 failed" in result.stdout
    for name in FORMATS:
        text = (folder / f"{name}.out").read_text(encoding="utf-8")
        for words in ("wrong", "better", "gone.pt"):
            assert words in text, (name, words)
    assert not list(folder.glob("*.partial"))


def test_a_check_that_cannot_begin_is_reported_too(
    folder: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    result = run("check", "--only", "goood", "--report", "junit=j.xml", "--report", "json=r.json")
    assert result.returncode == 2 and "did you mean good?" in (folder / "j.xml").read_text(encoding="utf-8")
    assert json.loads((folder / "r.json").read_text(encoding="utf-8"))["verdict"] == "ERROR"


def test_junit_keeps_its_schema(found: Checked) -> None:
    root = etree.fromstring(checked.render(found, "junit").encode())
    etree.XMLSchema(etree.parse(SCHEMAS / "junit-10.xsd")).assertValid(root)
    counts = {suite.get("name"): (suite.get("failures"), suite.get("errors")) for suite in root.iter("testsuite")}
    assert counts == {
        "good": ("0", "0"),
        "wrong": ("2", "0"),
        "wrong, as it was": ("0", "0"),
        "better": ("1", "0"),
        "gone": ("0", "1"),
        "other": ("0", "1"),
    }
    assert [error.get("type") for error in root.iter("error")] == ["file", "mismatch"]


def test_sarif_keeps_its_schema(found: Checked) -> None:
    log = json.loads(checked.render(found, "sarif"))
    Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text(encoding="utf-8"))).validate(log)
    (run,) = log["runs"]
    assert run["invocations"][0]["exitCode"] == found.exit_code == 1
    assert [
        (each["ruleId"], each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) for each in run["results"]
    ] == [
        ("DIFFERENT", "recurrent_transposed.pt"),
        ("CHECK", "recurrent_transposed.pt"),
        ("CHECK", "rnn.pt"),
        ("ERROR", "gone.pt"),
        ("ERROR", "two_parts.pt"),
    ]


def test_github_annotations_name_the_file(found: Checked) -> None:
    lines = checked.render(found, "github").splitlines()
    levels_and_files = [re.match(r"::(\w+) file=([\w.]+),title=", line) for line in lines]
    assert [match and match.groups() for match in levels_and_files] == [
        ("notice", "rnn.pt"),
        ("error", "recurrent_transposed.pt"),
        ("error", "recurrent_transposed.pt"),
        ("notice", "recurrent_transposed.pt"),
        ("notice", "rnn.pt"),
        ("error", "rnn.pt"),
        ("error", "gone.pt"),
        ("error", "two_parts.pt"),
    ]


def test_json_keeps_the_published_schema(found: Checked) -> None:
    from rnnverify.reports import json as report

    schema = json.loads((Path(report.__file__).parent / "result.schema.json").read_text(encoding="utf-8"))
    content = json.loads(checked.render(found, "json"))
    Draft202012Validator({**schema, "anyOf": [{"$ref": "#/$defs/check"}]}).validate(content)
    del content["outcomes"][0]["passed"]
    assert not Draft202012Validator(schema).is_valid(content)

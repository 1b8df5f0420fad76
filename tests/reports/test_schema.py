"""Every report keeps the schema of its format: our own of JSON, and those of the programs that read the others."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparisons import DIFFERENT, DIFFERENT_PAIR, EQUIVALENT, EQUIVALENT_PAIR, INSPECTION, THREE, named
from jsonschema import Draft4Validator, Draft202012Validator
from lxml import etree
from schema import PATH, schema

from rnnverify.comparison import Comparison, Searched, Witness
from rnnverify.conversion import Conversion
from rnnverify.deviation import Tolerance
from rnnverify.errors import FileError, MismatchError
from rnnverify.finding import Finding
from rnnverify.reports import junit, sarif
from rnnverify.reports.json import render, render_conversion, render_error, render_inspection
from rnnverify.reports.named import Named, failed

SCHEMAS = Path(__file__).parent / "schemas"
FINDING = Finding("the recurrent kernel is transposed", "Do not.", "certain", 0.75, None, "layer 0", "B")
FULL_PAIR = replace(
    DIFFERENT_PAIR,
    searched=Searched(0.9, None, "by gradient"),
    findings=(FINDING,),
    frontier=((0.5, 0.75),),
    tolerance=Tolerance(1e-3, 1e-4),
)
FULL = replace(
    DIFFERENT,
    pairs=(replace(FULL_PAIR, verdict="INCONCLUSIVE"), replace(FULL_PAIR, verdict="CLOSE"), FULL_PAIR),
    witness=Witness("one sequence", "case.npz", "B-A", float("nan"), ("rnnverify", "compare")),
)
CONVERSION = Conversion(
    source="model.h5",
    target="model.pt",
    files=("model.pt",),
    form="PyTorch state_dict",
    written_by="torch 2.13.0, torch.save",
    shape="1 layer, 5 -> 8, tanh",
    part="",
    tensors=INSPECTION.tensors,
    not_converted=("Dense",),
    notes=(),
    comparison=EQUIVALENT,
)
HOSTILE = "a\x1b[31m\n\x00]]>&<b>\ud800 %41 網"
ERRORS = (FileError(HOSTILE, "is truncated"), MismatchError("other sizes"))
RESULTS = (EQUIVALENT, DIFFERENT, THREE, FULL, named(HOSTILE))


def test_the_published_schema_is_made_from_the_results() -> None:
    made = json.dumps(schema(), indent=2) + "\n"
    assert made == PATH.read_text(encoding="utf-8"), "write it again: PYTHONPATH=. python tests/reports/schema.py"
    Draft202012Validator.check_schema(schema(strict=True))


REPORTS = [
    *(("comparison", render(result)) for result in RESULTS),
    *(("error", render_error(error)) for error in ERRORS),
    ("inspection", render_inspection(INSPECTION)),
    ("conversion", render_conversion(CONVERSION)),
]


@pytest.mark.parametrize(("kind", "text"), REPORTS, ids=[kind for kind, _ in REPORTS])
def test_every_kind_of_json_keeps_the_schema(kind: str, text: str) -> None:
    for strict in (False, True):
        Draft202012Validator(schema(strict)).validate(json.loads(text))
        Draft202012Validator({**schema(strict), "anyOf": [{"$ref": f"#/$defs/{kind}"}]}).validate(json.loads(text))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("verdict",), "FINE"),
        (("schema",), 2),
        (("pairs", 0, "headline", "deviation", "at"), [1, 2]),
        (("pairs", 0, "headline", "deviation", "max_abs"), "big"),
        (("pairs", 0, "heat", "rows"), [1.0]),
        (("pairs", 0, "budgets", 0), 1),
        (("sides", 0, "label"), None),
    ],
)
def test_what_is_damaged_does_not(keys: tuple[Any, ...], value: Any) -> None:
    content = json.loads(render(EQUIVALENT))
    place = content
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    assert not Draft202012Validator(schema()).is_valid(content)


def test_a_field_more_is_borne_by_readers_and_noticed_by_tests() -> None:
    content = {**json.loads(render(EQUIVALENT)), "new": 1}
    assert Draft202012Validator(schema()).is_valid(content)
    assert not Draft202012Validator(schema(strict=True)).is_valid(content)
    del content["new"], content["pairs"]
    assert not Draft202012Validator(schema()).is_valid(content)


def several() -> list[Named]:
    made = [Named(HOSTILE, result) for result in (*RESULTS, replace(EQUIVALENT, pairs=(EQUIVALENT_PAIR,)))]
    return [*made, *(failed(error) for error in ERRORS)]


def test_junit_keeps_the_schema_of_build_servers() -> None:
    validator = etree.XMLSchema(etree.parse(SCHEMAS / "junit-10.xsd"))
    for text in (junit.render_many(several()), junit.render_many([]), *map(junit.render_error, ERRORS)):
        validator.assertValid(etree.fromstring(text.encode()))
    assert not validator.validate(etree.fromstring("<testsuite name='a'/>"))


def test_sarif_keeps_the_schema_of_code_scanning() -> None:
    validator = Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text(encoding="utf-8")))
    for text in (sarif.render_many(several()), sarif.render_many([]), *map(sarif.render_error, ERRORS)):
        validator.validate(json.loads(text))
        (run,) = json.loads(text)["runs"]
        rules = run["tool"]["driver"]["rules"]
        assert all(rules[found["ruleIndex"]]["id"] == found["ruleId"] for found in run["results"])
    broken = json.loads(sarif.render_error(ERRORS[0]))
    del broken["runs"][0]["results"][0]["message"]
    assert not validator.is_valid(broken)


def test_results_of_every_verdict_are_among_them() -> None:
    found = {pair.verdict for result in RESULTS if isinstance(result, Comparison) for pair in result.pairs}
    assert found == {"EQUIVALENT", "DIFFERENT", "INCONCLUSIVE", "CLOSE"}

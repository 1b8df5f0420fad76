"""The JSON report: valid for any reader, also where numbers are not finite."""

import json
from dataclasses import replace
from typing import Any

import pytest
from comparisons import DIFFERENT, EQUIVALENT, EQUIVALENT_PAIR, HOLDS, INSPECTION, NAN, SMALL, THREE, named

import rnnverify
from rnnverify.comparison import Comparison, Measured
from rnnverify.errors import FileError, MismatchError, RnnverifyError
from rnnverify.reports.json import render, render_error, render_inspection


def strictly(text: str) -> dict[str, Any]:
    """Parsed as JSON has it: NaN and Infinity are no numbers."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    assert text.endswith("}\n")
    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert (found["schema"], found["rnnverify"]) == (1, rnnverify.__version__)
    return found


def test_the_strict_reader_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN is no JSON"):
        strictly('{"a": NaN}\n')


@pytest.mark.parametrize(("result", "code"), [(EQUIVALENT, 0), (DIFFERENT, 1), (THREE, 1)])
def test_a_comparison(result: Comparison, code: int) -> None:
    found = strictly(render(result))
    assert (found["verdict"], found["exit_code"]) == (result.verdict, code)
    assert [side["label"] for side in found["sides"]] == [side.label for side in result.sides]
    assert [pair["verdict"] for pair in found["pairs"]] == [pair.verdict for pair in result.pairs]
    assert found["inputs"] == result.inputs


def test_every_field_is_there() -> None:
    found = strictly(render(EQUIVALENT))
    (pair,) = found["pairs"]
    assert found["sides"][1]["assumptions"] == list(EQUIVALENT.sides[1].assumptions)
    assert found["sides"][0]["versions"] == {"keras": "3.15.1", "tensorflow": "2.21.0"}
    assert pair["rule"] == {"atol": 1e-5, "rtol": 0.0}
    assert pair["tolerance"] == {"atol": 0.0, "rtol": 0.0}
    assert pair["headline"]["deviation"]["max_abs"] == 1.2e-7
    assert pair["headline"]["deviation"]["at"] == [3, 21, 5]
    assert pair["tensors"][2]["rounded"] == 3
    holds = {"used": 0.123, "where": "layer 0", "at": [3, 21, 5], "beyond": 0, "checked": 4096, "first_step": None}
    holds = {**holds, "error": 2e-7, "onset": None, "shares": list(HOLDS.shares)}
    assert pair["budgets"] == pair["own_budgets"] == [holds, {**holds, "used": 0.34}]
    assert pair["heat"]["rows"][1] == [0.0, 0.0, 0.0, 3e-8]
    assert found["matrix"] == [[0.0, 1.2e-7], [1.2e-7, 0.0]]


def test_numbers_that_json_lacks_are_strings() -> None:
    found = strictly(render(THREE))
    assert found["matrix"][2] == ["NaN", "NaN", "NaN"]
    assert found["pairs"][1]["headline"]["deviation"]["candidate_value"] == "NaN"
    assert found["pairs"][1]["budgets"][1] is None
    infinite = replace(SMALL, baseline_value=float("-inf"), candidate_value=float("inf"))
    pair = replace(EQUIVALENT_PAIR, headline=Measured("zero", "y", infinite), weights=NAN)
    (found_pair,) = strictly(render(replace(EQUIVALENT, pairs=(pair,))))["pairs"]
    deviation = found_pair["headline"]["deviation"]
    assert (deviation["baseline_value"], deviation["candidate_value"]) == ("-Infinity", "Infinity")
    assert found_pair["weights"] == "NaN"


@pytest.mark.parametrize("name", ["[red]x[/red]", 'a"b\\c', "a\x1b[31m\n\0", "Größe 网络", "\ud800"])
def test_names_come_back_as_they_were(name: str) -> None:
    text = render(named(name))
    assert "\x1b" not in text
    found = strictly(text)
    assert found["sides"][1]["source"] == found["inputs"]["origin"] == name


@pytest.mark.parametrize(
    ("error", "kind"),
    [(FileError('a"\n.h5', "is truncated", "save it again"), "file"), (MismatchError("other sizes"), "mismatch")],
)
def test_an_error(error: RnnverifyError, kind: str) -> None:
    found = strictly(render_error(error))
    assert (found["verdict"], found["exit_code"]) == ("ERROR", 2)
    assert found["error"] == {"kind": kind, "message": str(error)}


def test_an_inspection() -> None:
    found = strictly(render_inspection(INSPECTION))
    assert found["tensors"][0]["shape"] == [8, 5]
    assert found["tensors"][1]["unused"] == "another layer"
    assert found["canonical"] == {"layer 0 kernel": [1, 5, 8]}
    assert found["parameter_counts"]["two biases"] == 1120

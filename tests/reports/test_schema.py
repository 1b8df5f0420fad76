"""The published JSON Schema: up to date, and every kind of result is valid by it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from comparisons import DIFFERENT, EQUIVALENT, THREE

import rnnverify.reports
from rnnverify.comparison import Comparison, Searched, Witness
from rnnverify.errors import MismatchError
from rnnverify.reports.json import render, render_error
from rnnverify.reports.schema import schema

PUBLISHED = Path(rnnverify.reports.__file__).with_name("result.schema.json")
SEARCHED = replace(
    DIFFERENT,
    pairs=tuple(replace(pair, searched=Searched(0.5, 0.25)) for pair in DIFFERENT.pairs),
    witness=Witness("1 sequence", "w.npz", "B-A", float("nan"), ("rnnverify",)),
)


def valid(text: str) -> bool:
    jsonschema: Any = pytest.importorskip("jsonschema", reason="the dev extra has it")
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text(encoding="utf-8")))
    return bool(validator.is_valid(json.loads(text)))


def test_what_is_published_is_what_the_result_is() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == schema()


@pytest.mark.parametrize("result", [EQUIVALENT, DIFFERENT, THREE, SEARCHED])
def test_every_kind_of_result_is_valid(result: Comparison) -> None:
    assert valid(render(result))


def test_an_error_is_valid_and_others_are_not() -> None:
    assert valid(render_error(MismatchError("other sizes")))
    for name, value in (("verdict", "FINE"), ("sides", None), ("matrix", [["0"]]), ("more", 1)):
        assert not valid(json.dumps({**json.loads(render(EQUIVALENT)), name: value}))

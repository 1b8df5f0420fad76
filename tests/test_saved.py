"""A saved result comes back as it was, and is judged again without running anything."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from networks import single
from observed import BATCHES, NETWORK, model, nudged

from rnnverify.adequacy import Examiner
from rnnverify.comparison import Comparison
from rnnverify.deviation import Tolerance
from rnnverify.errors import FileError
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.reports.json import render
from rnnverify.saved import judge_again, read_result


def result(tolerance: Tolerance | None = None, candidate: Observed | None = None) -> Comparison:
    other = candidate or model("B", nudged(1e-3))
    pair = judge(model("A", NETWORK), other, Examiner(BATCHES), tolerance or Tolerance())
    return Comparison(pair.verdict, (), (pair,), ((0.0, float("nan")), (float("inf"), 0.0)), {"seed": 0})


def saved(tmp_path: Path, what: Comparison) -> Path:
    path = tmp_path / "result.json"
    path.write_text(render(what))
    return path


def test_reading_is_the_inverse_of_writing(tmp_path: Path) -> None:
    for candidate in (model("B", nudged(1e-3)), model("B", NETWORK), model("B", single(3, 4, seed=1))):
        written = result(candidate=candidate)
        assert render(read_result(saved(tmp_path, written))) == render(written)
        assert read_result(saved(tmp_path, written)).pairs == written.pairs


@pytest.mark.parametrize("atol", [1e-9, 1e-4, 1e-3, 0.1])
def test_judged_again_as_if_made_so(tmp_path: Path, atol: float) -> None:
    for first in (Tolerance(), Tolerance(5), Tolerance(0, 0.3)):
        again = judge_again(saved(tmp_path, result(first)), Tolerance(atol))
        assert again.pairs == result(Tolerance(atol)).pairs
        assert again.exit_code == result(Tolerance(atol)).exit_code
    assert {judge_again(saved(tmp_path, result()), Tolerance(a)).verdict for a in (1e-9, 0.1)} == {"DIFFERENT", "CLOSE"}


def changed(tmp_path: Path, *keys: Any, value: Any = None) -> Path:
    """A saved result with one value replaced, or left out where `value` is None."""
    content = json.loads(render(result()))
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is None:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("pairs", 0, "frontier"), None, "result.pairs has no frontier"),
        (("pairs", 0, "verdict"), "FINE", "result.pairs.verdict is 'FINE'"),
        (("pairs", 0, "headline", "deviation", "max_abs"), "big", "max_abs is 'big'"),
        (("pairs", 0, "headline", "deviation", "at"), [1, 2], "has 2 entries, not 3"),
        (("pairs", 0, "budgets", 0, "beyond"), True, "beyond is True"),
        (("pairs",), "none", "result.pairs is 'none'"),
        (("pairs",), [], "it compares nothing"),
        (("schema",), 99, "has schema 99"),
        (("schema",), None, "is no result of rnnverify"),
        (("verdict",), "ERROR", "could not be made"),
    ],
)
def test_a_damaged_result_is_refused(tmp_path: Path, keys: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(FileError, match=words.replace("(", r"\(")):
        read_result(changed(tmp_path, *keys, value=value))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000])
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(FileError):
        read_result(path)
    with pytest.raises(FileError, match="cannot be read"):
        read_result(tmp_path / "missing.json")


def test_tolerances_do_not_change_a_pass(tmp_path: Path) -> None:
    same = result(candidate=model("B", NETWORK))
    assert judge_again(saved(tmp_path, same), Tolerance(1)).verdict == "IDENTICAL"
    worse = replace(same, pairs=(*same.pairs, *result().pairs))
    assert judge_again(saved(tmp_path, worse), Tolerance()).verdict == "DIFFERENT"

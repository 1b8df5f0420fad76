"""All comparisons of a config in one go, and the lock that they are held against."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from rnnverify.check import Checked, How, check
from rnnverify.config import read_config
from rnnverify.errors import FileError, OptionError
from rnnverify.lock import complaints, read_lock
from rnnverify.outcomes import Outcome
from rnnverify.reports.checked import render

CONFIG = """
[defaults]
engine = "reference"
[[compare]]
name = "good"
sides = ["simple_rnn.h5", "rnn.pt"]
[[compare]]
name = "wrong"
sides = ["rnn.pt", "recurrent_transposed.pt"]
{wrong}
[[compare]]
name = "gone"
sides = ["rnn.pt", "{gone}.pt"]
"""


@pytest.fixture
def folder(tmp_path: Path, fixtures: Path) -> Path:
    for name in ("simple_rnn.h5", "rnn.pt", "wrong/recurrent_transposed.pt"):
        shutil.copy(fixtures / name, tmp_path)
    return tmp_path


def checked(folder: Path, how: How | None = None, wrong: str = "", gone: str = "gone") -> Checked:
    (folder / "rnnverify.toml").write_text(CONFIG.format(wrong=wrong, gone=gone))
    return check(read_config(folder / "rnnverify.toml"), how)


def by_name(found: Checked) -> dict[str, Outcome]:
    return {outcome.name: outcome for outcome in found.outcomes}


def test_one_failure_stops_nothing(folder: Path) -> None:
    seen: list[str] = []
    (folder / "rnnverify.toml").write_text(CONFIG.format(wrong="", gone="gone"))
    found = check(read_config(folder / "rnnverify.toml"), None, lambda o, k, n: seen.append(f"{o.name} {k}/{n}"))
    assert seen == ["good 1/3", "wrong 2/3", "gone 3/3"]
    outcomes = by_name(found)
    assert outcomes["good"].passed and outcomes["good"].result
    assert outcomes["wrong"].complaints[0].startswith("DIFFERENT: ")
    assert "to see all of it: rnnverify compare" in outcomes["wrong"].complaints[1]
    assert "gone.pt: there is no such file" in outcomes["gone"].error and outcomes["gone"].result is None
    assert found.exit_code == 1
    text = render(found, "terminal", width=100)
    assert text.index("wrong") < text.index("gone") < text.index("good")
    assert "1 passed, 2 failed" in text
    as_json = json.loads(render(found, "json"))
    assert [each["passed"] for each in as_json["outcomes"]] == [True, False, False] and as_json["exit_code"] == 1


def test_exit_codes_and_expected_verdicts(folder: Path) -> None:
    assert checked(folder, How(only=("good",))).exit_code == 0
    assert checked(folder, How(only=("g*",))).exit_code == 2
    assert checked(folder, How(only=("wrong",)), 'expect = "DIFFERENT"').exit_code == 0
    better = checked(folder, How(only=("good", "wrong")), 'expect = ["DIFFERENT"]')
    assert better.exit_code == 0 and len(better.outcomes) == 2
    shutil.copy(folder / "rnn.pt", folder / "recurrent_transposed.pt")
    mended = checked(folder, How(only=("wrong",)), 'expect = "DIFFERENT"')
    assert mended.exit_code == 1 and "IDENTICAL, expected DIFFERENT" in mended.outcomes[0].complaints[0]


def test_fail_fast_and_options_that_make_no_sense(folder: Path) -> None:
    found = checked(folder, How(fail_fast=True))
    assert ([o.name for o in found.outcomes], found.left_out) == (["good", "wrong"], 1)
    assert "1 left out by --fail-fast" in render(found, "terminal")
    with pytest.raises(OptionError, match=r"--only goood: is the name of no comparison; did you mean good\?"):
        checked(folder, How(only=("goood",)))
    with pytest.raises(OptionError, match="--jobs 0"):
        How(jobs=0)
    with pytest.raises(OptionError, match="--update"):
        How(update=True, fail_fast=True)


def test_the_lock(folder: Path) -> None:
    first = checked(folder, How(update=True))
    assert first.updated and "without those that failed" in render(first, "terminal")
    lock = read_lock(folder / "rnnverify.lock")
    assert lock is not None and list(lock) == ["good"]
    assert checked(folder, How(only=("good",))).exit_code == 0
    new = checked(folder, How(only=("wrong",)), 'expect = "DIFFERENT"')
    assert new.exit_code == 1
    assert new.outcomes[0].complaints == (
        "is not in rnnverify.lock; to accept it: rnnverify check --update --only 'wrong'",
    )
    for name in ("simple_rnn.h5", "rnn.pt"):  # the same port of other weights
        shutil.copy(folder / "recurrent_transposed.pt", folder / name)
    changed = checked(folder, How(only=("good",)))
    assert changed.exit_code == 1 and "the weights of A" in changed.outcomes[0].complaints[0]
    assert checked(folder, How(only=("good",), update=True)).exit_code == 0
    assert checked(folder, How(only=("good",))).exit_code == 0


def test_a_deviation_that_grows_fails_within_every_tolerance(folder: Path) -> None:
    config = folder / "rnnverify.toml"
    text = '[[compare]]\nname = "good"\nsides = ["simple_rnn.h5", "rnn.pt"]\nengine = "reference"\n{more}'
    config.write_text(text.format(more=""))
    result = check(read_config(config), How(update=True)).outcomes[0].result
    assert result is not None
    lock = read_lock(folder / "rnnverify.lock") or {}

    def off_by(deviation: float) -> list[str]:
        pair = result.pairs[0]
        worst = dataclasses.replace(pair.headline.deviation, max_abs=deviation)
        pair = dataclasses.replace(pair, headline=dataclasses.replace(pair.headline, deviation=worst))
        return list(complaints("good", dataclasses.replace(result, pairs=(pair,)), lock, 2.0))

    assert off_by(1e-8) == []  # within the last place: another machine
    (said,) = off_by(1e-5)
    assert "the deviation of B is 1e-05 and was 0 in rnnverify.lock" in said and "--update --only 'good'" in said
    config.write_text(text.format(more="steps = 8\n"))
    (outcome,) = check(read_config(config)).outcomes
    assert "the inputs are not those of rnnverify.lock" in outcome.complaints[0]


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 1, "comparisons": {"good": {"sides": 1}}}'])
def test_a_damaged_lock_is_one_sentence(folder: Path, text: str) -> None:
    (folder / "rnnverify.lock").write_text(text)
    with pytest.raises(FileError, match=r"rnnverify.lock: .*version control") as caught:
        checked(folder)
    assert "\n" not in str(caught.value)

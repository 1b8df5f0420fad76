"""What the user reads: every mistake has a name of its own, and advice that is short enough for three lines."""

import textwrap
from collections.abc import Callable

import pytest

from rnnverify.diagnosis.families import FAMILIES, LAST_RESORT, OUTPUTS, RUNS
from rnnverify.diagnosis.hypothesis import words
from rnnverify.diagnosis.likeness import LIKENESSES

HYPOTHESES = [hypothesis for family in (*FAMILIES.values(), LAST_RESORT) for hypothesis in family]
FUNCTIONS: list[Callable[..., object]] = [*(h.make for h in HYPOTHESES), *RUNS, *OUTPUTS, *LIKENESSES]
WORDS = [words(function) for function in FUNCTIONS]


@pytest.mark.parametrize(("name", "advice"), WORDS, ids=[name for name, _ in WORDS])
def test_advice_is_short_and_whole(name: str, advice: str) -> None:
    assert name and not name.endswith(".") and name == name.strip()
    assert advice.endswith(".") and advice.count(". ") >= 1
    assert len(textwrap.wrap(advice, 76)) <= 3  # beside its indentation, in 80 columns


def test_names_are_told_apart() -> None:
    names = [name for name, _ in WORDS]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"another activation stands in its place"}  # usual and rare activations


def test_every_hypothesis_can_be_made() -> None:
    assert all(words(h.make) == (h.name, h.advice) for h in HYPOTHESES)

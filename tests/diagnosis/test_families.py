"""What the user reads: every mistake has a name of its own, and advice that is short enough for three lines."""

import textwrap
from collections.abc import Callable

import pytest

from rnnverify.diagnosis import weights
from rnnverify.diagnosis.begun import initial_state_not_zero
from rnnverify.diagnosis.families import FAMILIES, LAST_RESORT, OUTPUTS, RUNS
from rnnverify.diagnosis.hypothesis import advice_for, words
from rnnverify.diagnosis.likeness import LIKENESSES

HYPOTHESES = [hypothesis for family in (*FAMILIES.values(), LAST_RESORT) for hypothesis in family]
FUNCTIONS: list[Callable[..., object]] = [
    *(h.make for h in HYPOTHESES),
    *RUNS,
    initial_state_not_zero,
    *OUTPUTS,
    *LIKENESSES,
]
WORDS = [words(function) for function in FUNCTIONS]


@pytest.mark.parametrize(("name", "advice"), WORDS, ids=[name for name, _ in WORDS])
def test_advice_is_short_and_whole(name: str, advice: str) -> None:
    assert name and not name.endswith(".") and name == name.strip()
    general, *own = advice.split("\n")
    assert len(textwrap.wrap(general, 76)) <= 3  # beside its indentation, in 80 columns
    assert [line.partition(":")[0] for line in own] in ([], ["Keras", "PyTorch", "TensorFlow"])
    for line in (general, *own):
        assert line.endswith(".")
    for framework in ("", "keras", "torch", "tensorflow"):
        said = advice_for(framework, advice)
        assert said.count(". ") >= 1 and len(textwrap.wrap(said, 76)) <= 4


def test_advice_is_for_the_framework_of_the_wrong_side() -> None:
    advice = words(weights.recurrent_transposed)[1]
    assert "PyTorch: weight_hh_l0 is" in advice_for("torch", advice)
    assert "Keras: " not in advice_for("torch", advice)
    assert "weight_hh" not in advice_for("", advice)


def test_names_are_told_apart() -> None:
    names = [name for name, _ in WORDS]
    twice = {name for name in names if names.count(name) > 1}
    bias = "only the bias is another one"  # by the weights of both sides, and by what one recorded
    orders = "the gates are in another order"
    coupled = "input and forget gate are coupled on one side only"  # on the right side, and on the wrong one
    usual_and_rare = {"another activation stands in its place", orders, "the gates are interleaved unit by unit"}
    assert twice == {*usual_and_rare, bias, coupled}


def test_every_hypothesis_can_be_made() -> None:
    assert all(words(h.make) == (h.name, h.advice) for h in HYPOTHESES)

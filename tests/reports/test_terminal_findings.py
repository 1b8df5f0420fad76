"""The block of findings, letter by letter."""

from dataclasses import replace

from comparisons import DIFFERENT, DIFFERENT_PAIR

from rnnverify.comparison import Comparison
from rnnverify.finding import Finding
from rnnverify.reports.terminal import render

FINDING = Finding(
    name="the recurrent kernel is transposed",
    advice="It is square, so no shape error tells. Write recurrent_kernel = weight_hh_l0.T.",
    proof="certain",
    before=1.1,
    after=3.6e-7,
    where="layer 1",
    side="B",
)


def with_findings(*findings: Finding) -> Comparison:
    return replace(DIFFERENT, pairs=(replace(DIFFERENT_PAIR, findings=findings),))


def block(*findings: Finding) -> str:
    report = render(with_findings(*findings), width=80)
    return report[report.index("What went wrong") :]


def test_one_mistake() -> None:
    assert (
        block(FINDING)
        == """\
What went wrong, in B against A
  certain  B: the recurrent kernel is transposed (layer 1)
    It is square, so no shape error tells. Write recurrent_kernel =
    weight_hh_l0.T.
  undone, the deviation falls from 1.1 to 3.6e-07; the weights show it, number
  for number
"""
    )


def test_two_mistakes_share_their_proof() -> None:
    second = replace(FINDING, name="the bias is halved", where="", proof="confirmed", advice="Add the two halves.")
    first = replace(FINDING, proof="confirmed")
    assert (
        block(first, second)
        == """\
What went wrong: 2 mistakes at once, in B against A
  confirmed  B: the recurrent kernel is transposed (layer 1)
    It is square, so no shape error tells. Write recurrent_kernel =
    weight_hh_l0.T.
  confirmed  B: the bias is halved
    Add the two halves.
  all undone, the deviation falls from 1.1 to 3.6e-07; rounding explains what
  remains
"""
    )


def test_a_suspicion_is_called_one() -> None:
    looks = replace(FINDING, proof="suspected", before=None, after=None)
    assert block(looks).endswith("\n  nothing proves it\n") and "  suspected  B: " in block(looks)


def test_nothing_is_said_where_nothing_was_found() -> None:
    assert "What went wrong" not in render(DIFFERENT, width=80)

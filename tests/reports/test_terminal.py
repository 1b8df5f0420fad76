"""The terminal report, letter by letter at a fixed width."""

import re
from dataclasses import replace

import pytest
from comparisons import (
    DIFFERENT,
    DIFFERENT_PAIR,
    EQUIVALENT,
    EQUIVALENT_PAIR,
    HOLDS,
    INSPECTION,
    KERAS,
    NAN,
    SMALL,
    THREE,
    TRACE,
    named,
    tensor,
)
from rich.cells import cell_len

from rnnverify.comparison import Comparison, Measured, Searched, Witness
from rnnverify.deviation import Tolerance
from rnnverify.reports.terminal import render, render_inspection

SIDES = """\
A  model.h5
   network       1 layer, 5 -> 8, tanh
   file          HDF5, Keras 2.2.4, tensorflow backend
   ran by        keras 3.15.1, tensorflow 2.21.0, SimpleRNN, loaded by
                 load_model
   not compared  Dense 'dense_1'
B  model.pt#encoder.rnn
   network  1 layer, 5 -> 8, tanh
   file     PyTorch zip
   ran by   torch 2.13.0, nn.RNN, loaded by torch.load
   assumed  activation tanh: not in the file, borrowed from A (--activation
            B=NAME sets another)
   note     holds two biases
"""

EQUIVALENT_REPORT = """\

Inputs  8 sequences of 32 steps, 5 features, from zero and from random initial
states (seed 0)

B against A
  maximum deviation  1.2e-07  sequence 3, step 21, unit 5, from zero states
  there              A 0.123456789, B 0.123456909
  mean deviation     1.1e-08
  in one step        A 2.0e-07, B 2.0e-07 off the exact step at most; run
                     freely, 1.2e-07 apart
  budget             A 12%, B 34% of what rounding allows in a step
  adequacy           17 of 18 planted mistakes would have been seen
  not seen           a bias dropped
  mind               all biases are zero: a bias that was dropped or added twice
                     would change nothing
  along time         ▁▃▅█
  at most            8.0e-08 (arithmetic of A) + 0 (weights, activation) +
                     6.0e-08 (arithmetic of B)

   weights        shape   differ      by up to   ulps   at   values
   ───────────────────────────────────────────────────────────────────
   layer 0 bias   8       3 rounded   6.0e-08    1      7    0.5 / 0.5
   2 more equal


B-A  EQUIVALENT  every step is explained by rounding, and the weights are equal
"""

DIFFERENT_REPORT = """\

Inputs  8 sequences of 32 steps, 5 features, from zero and from random initial
states (seed 0)

B against A
  maximum deviation  0.75  final state h_n[0], sequence 3, unit 5, from random
                     initial states
  there              A 0.123456789, B -0.626543211
  mean deviation     0.04
  in one step        A 2.0e-07, B 2.0e-07 off the exact step at most; run
                     freely, 0.75 apart
  budget             A 12%, B 4.1e+04 times what rounding allows in a step
  mind               all biases are zero: a bias that was dropped or added twice
                     would change nothing
  along time         ▁▃▅█
  at most            8.0e-08 (arithmetic of A) + 0.75 (weights, activation) +
                     6.0e-08 (arithmetic of B)

   weights          shape   differ      by up to   ulps      at     values
   ───────────────────────────────────────────────────────────────────────────
   layer 0 kernel   5 x 8   40 of 40    0.25       4.2e+06   4, 7   0.5 / 0.75
   layer 0 bias     8       3 rounded   6.0e-08    1         7      0.5 / 0.5
   1 more equal


B-A  DIFFERENT  3800 of 4096 states of B do not follow from the weights of A,
                even with rounding
                it begins in layer 0 at step 1, step 0 holds: look at the
                recurrent kernel
                layer 0 kernel: 40 of 40 weights differ, by up to 0.25
"""

THREE_REPORT = """\
C  trace.npz
   file  npz trace, recorded from in-house 7

Inputs  8 sequences of 32 steps, 5 features, from zero and from random initial
states (trace.npz)

B against A  EQUIVALENT
  maximum deviation  1.2e-07  sequence 3, step 21, unit 5, from zero states
  there              A 0.123456789, B 0.123456909
  mean deviation     1.1e-08
  in one step        A 2.0e-07, B 2.0e-07 off the exact step at most; run
                     freely, 1.2e-07 apart
  budget             A 12%, B 34% of what rounding allows in a step
  adequacy           17 of 18 planted mistakes would have been seen
  not seen           a bias dropped
  mind               all biases are zero: a bias that was dropped or added twice
                     would change nothing
  along time         ▁▃▅█
  at most            8.0e-08 (arithmetic of A) + 0 (weights, activation) +
                     6.0e-08 (arithmetic of B)

   weights        shape   differ      by up to   ulps   at   values
   ───────────────────────────────────────────────────────────────────
   layer 0 bias   8       3 rounded   6.0e-08    1      7    0.5 / 0.5
   2 more equal


C against A  DIFFERENT
  maximum deviation  not a number  sequence 3, step 21, unit 5, from zero states
  there              A 0.123456789, C nan
  mean deviation     1.1e-08
  tolerance          1.0e-05  (float32 rule: 1e-05 x the largest state, 1)
  first beyond       step 21; 4 of 2048 values beyond it
  mind               all biases are zero: a bias that was dropped or added twice
                     would change nothing
  along time         ▁▃▅█

Maximum deviation of every side against every side

             A         B     C
   ───────────────────────────
   A         ·   1.2e-07   nan
   B   1.2e-07         ·   nan
   C       nan       nan     ·


B-A  EQUIVALENT  every step is explained by rounding, and the weights are equal
C-A  DIFFERENT  the candidate: 4 states are NaN or infinite
"""

INSPECTION_REPORT = """\
model.pt#encoder.rnn
  form         PyTorch zip
  read as      torch
  part         encoder.rnn
  network      1 layer, 5 -> 8, tanh
  fingerprint  0123456789abcdef
  assumed      activation tanh: not in the file, the framework's default
  note         holds two biases

 tensor in the file         shape    dtype     goes to
 ─────────────────────────────────────────────────────────────────────────
 encoder.rnn.weight_ih_l0   8 x 5    float32   layer 0 kernel (transposed)
 head.weight                2 x 8    float32   another layer
 steps                      scalar   int64     not used


 canonical tensor   shape (gates first)
 ──────────────────────────────────────
 layer 0 kernel     1 x 5 x 8

numbers that this network takes
  two kernels, one bias (Keras)                    112
  one kernel over [x, h], one bias (TensorFlow)    112
  two kernels, two biases (PyTorch)              1,120
"""


@pytest.mark.parametrize(
    ("result", "report"),
    [(EQUIVALENT, EQUIVALENT_REPORT), (DIFFERENT, DIFFERENT_REPORT), (THREE, THREE_REPORT)],
    ids=["equivalent", "different", "three sides"],
)
def test_a_comparison_at_80_columns(result: Comparison, report: str) -> None:
    assert render(result, width=80) == SIDES + report


def test_an_inspection_at_80_columns() -> None:
    assert render_inspection(INSPECTION, width=80) == INSPECTION_REPORT


def plain(text: str) -> str:
    """`text` without colours."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


LONG = "/a/path/" + "of_many_letters" * 12 + "/model.pt"
RESULTS = [EQUIVALENT, DIFFERENT, THREE, named("[red]x[/red] [/] :smile:"), named(LONG), named("网络" * 60)]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("color", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, color: bool) -> None:
    texts = [render(result, width=width, color=color) for result in RESULTS]
    texts += [render_inspection(replace(INSPECTION, source=LONG, part=LONG), width=width, color=color)]
    assert max(cell_len(line) for text in texts for line in plain(text).split("\n")) <= width


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", "[link=file:///etc]x[/link]", ":smile:", "a\\[b]", "[bold"])
def test_markup_in_names_is_shown_not_obeyed(name: str) -> None:
    text = render(named(name), width=120)
    assert text.count(name) == 7
    lines = replace(INSPECTION.tensors[0], name=name, role=name), replace(INSPECTION.tensors[1], unused=name)
    inspection = replace(INSPECTION, source=name, part=name, notes=(name,), tensors=lines)
    assert render_inspection(inspection, width=120).count(name) == 6


def test_colors_only_where_asked() -> None:
    assert "\x1b" not in render(THREE)
    colored = render(THREE, color=True)
    assert "\x1b[1;31mDIFFERENT" in colored and "\x1b[1;32mEQUIVALENT" in colored
    assert [line.rstrip() for line in plain(colored).split("\n")] == render(THREE).split("\n")


def test_long_names_are_folded_not_cut() -> None:
    assert LONG in render(named(LONG), width=60).replace("\n", "").replace(" ", "")


def test_relative_tolerance_and_its_rule() -> None:
    pair = replace(DIFFERENT_PAIR, tolerance=Tolerance(1e-4, 0.01))
    text = render(replace(DIFFERENT, pairs=(pair,)))
    assert "tolerance          1.0e-04 + 0.01 x |A|  (set by --atol and --rtol)\n" in text


def test_states_without_a_budget_are_held_against_the_tolerance() -> None:
    for budgets in ((None, None), (HOLDS, None), (None, HOLDS)):
        text = render(replace(EQUIVALENT, pairs=(replace(EQUIVALENT_PAIR, budgets=budgets),)))
        assert "budget" not in text
        assert "tolerance          1.0e-05  (float32 rule: " in text


def test_a_tolerance_of_the_user_stands_beside_the_budget() -> None:
    pair = replace(EQUIVALENT_PAIR, verdict="CLOSE", tolerance=Tolerance(1e-3))
    text = render(replace(EQUIVALENT, pairs=(pair,)))
    assert "  budget             A 12%" in text
    assert "tolerance          0.001  (set by --atol and --rtol)\n" in text


def test_one_step_probes_are_named() -> None:
    probe = {"shape": [32, 1, 5], "initial_state": True, "sha256": "2" * 64}
    measured = Measured("probe", "y", SMALL)
    result = replace(
        EQUIVALENT,
        pairs=(replace(EQUIVALENT_PAIR, headline=measured),),
        inputs={**EQUIVALENT.inputs, "batches": {**EQUIVALENT.inputs["batches"], "probe": probe}},
    )
    text = " ".join(render(result).split())
    assert "and 32 one-step probes (seed 0)" in text
    assert "maximum deviation 1.2e-07 sequence 3, step 21, unit 5, " in text


def test_markup_in_reasons_and_rules_is_shown_not_obeyed() -> None:
    pair = replace(DIFFERENT_PAIR, reasons=("found [red]x[/red]", "[/]"), rule_words="[b]rule", budgets=(None, None))
    text = render(replace(DIFFERENT, pairs=(pair,)), width=120)
    assert "[red]x[/red]" in text and "[/]" in text and "[b]rule" in text


def test_a_value_that_is_no_number_is_not_given_a_size() -> None:
    report = render(THREE, width=120).split("C against A  DIFFERENT")[1]
    (line,) = [line for line in report.splitlines() if "maximum deviation" in line]
    assert line == "  maximum deviation  not a number  sequence 3, step 21, unit 5, from zero states"


def test_a_reference_says_why_it_stands_in() -> None:
    words = "float64 reference, because torch is not installed"
    side = replace(KERAS, engine="reference", how=words, versions={"numpy": "2.0"})
    assert f"ran by        {words}\n" in render(replace(EQUIVALENT, sides=(side, TRACE)))


def test_a_single_step_has_no_profile_and_equal_weights_no_table() -> None:
    measured = Measured("zero", "y", replace(SMALL, by_step=(1.2e-7,)))
    equal = (tensor("layer 0 kernel", 5, 8), tensor("layer 0 bias", 8))
    pair = replace(EQUIVALENT_PAIR, headline=measured, tensors=equal)
    text = render(replace(EQUIVALENT, pairs=(pair,)))
    assert "along time" not in text
    assert "weights: all 48 equal, in 2 tensors\n" in text


def test_many_differing_tensors_are_counted_not_listed() -> None:
    tensors = [tensor(f"layer {k} kernel", 4, 4, differing=16) for k in range(20)]
    text = render(replace(DIFFERENT, pairs=(replace(DIFFERENT_PAIR, tensors=(*tensors, tensor("bias", 4))),)))
    assert text.count("16 of 16") == 12
    assert "1 more equal, 8 more that differ" in " ".join(text.split())


@pytest.mark.parametrize(
    ("searched", "words"),
    [
        (Searched(0.53, 6e-5), "0.53 on the worst inputs found, 8.8e+03 times as much; 6.0e-05 on the others"),
        (Searched(0.5, 0.0), "0.5 on the worst inputs found; 0 on the others"),
        (Searched(0.1, 0.2), "0.1 on the worst inputs found; 0.2 on the others"),
        (Searched(None, None, "nothing to search, the weights are equal"), "nothing to search, the weights are equal"),
    ],
)
def test_what_a_search_found_stands_beside_what_random_inputs_show(searched: Searched, words: str) -> None:
    text = render(replace(DIFFERENT, pairs=(replace(DIFFERENT_PAIR, searched=searched),)), width=120)
    assert f"  search             {words}\n" in text
    batch = {"shape": [4, 32, 5], "initial_state": False, "sha256": "3" * 64}
    inputs = {**DIFFERENT.inputs, "batches": {**DIFFERENT.inputs["batches"], "search": batch}}
    text = " ".join(render(replace(DIFFERENT, inputs=inputs)).split())
    assert "random initial states, 4 x 32 steps x 5 features found by --search (seed 0)" in text


def test_a_witness_is_followed_by_the_command_that_replays_it_on_one_line() -> None:
    command = ("rnnverify", "compare", "a model.h5", "b\n.pt", "--inputs", "x" * 90 + ".npz")
    found = Witness("1 sequence of 2 steps", "case.npz", "B-A", 0.125, command)
    text = render(replace(DIFFERENT, witness=found), width=120)
    line = "rnnverify compare 'a model.h5' 'b\\n.pt' --inputs " + "x" * 90 + ".npz\n"
    assert text.endswith("deviation 0.12 (B-A); replay it with\n" + line)
    assert "Witness  case.npz: 1 sequence of 2 steps; " in text
    unknown = render(replace(DIFFERENT, witness=replace(found, deviation=NAN)))
    assert "maximum deviation not a number (B-A)" in " ".join(unknown.split())
    nothing = render(replace(EQUIVALENT, witness=Witness("no witness was written: no pair is DIFFERENT")))
    assert nothing.endswith("\nWitness  no witness was written: no pair is DIFFERENT\n")


def test_a_profile_of_nothing_is_flat() -> None:
    measured = Measured("zero", "y", replace(SMALL, max_abs=0.0, by_step=(0.0, 0.0, 0.0)))
    pair = replace(EQUIVALENT_PAIR, headline=measured)
    assert "along time         ▁▁▁\n" in render(replace(EQUIVALENT, pairs=(pair,)))


def test_only_what_differs_of_the_environment_is_shown() -> None:
    assert "Differs" not in render(EQUIVALENT)
    other = replace(EQUIVALENT.sides[1], environment={"machine": "aarch64", "threads": "1", "blas": "other"})
    assert "Differs machine: A x86_64, B aarch64\n" in render(replace(EQUIVALENT, sides=(EQUIVALENT.sides[0], other)))


@pytest.mark.parametrize("color", [False, True])
def test_names_do_not_steer_the_terminal(color: bool) -> None:
    hostile = "\x1b[31mred\x1b]0;title\x07\0\r\x9b\u202e"
    lines = tuple(replace(line, name=hostile) for line in INSPECTION.tensors)
    inspection = replace(INSPECTION, part=hostile, writer=hostile, notes=(hostile,), tensors=lines)
    shown = render_inspection(inspection, width=200, color=color)
    plain = render_inspection(replace(INSPECTION, notes=("x",)), width=200, color=color)
    assert "\\x1b[31mred\\x1b]0;title\\x00\\x9b\\u202e" in shown  # rich itself drops bells and returns
    assert {c for c in shown if not c.isprintable()} == {c for c in plain if not c.isprintable()}

"""Every verdict, and the sentences that give its reasons."""

from dataclasses import replace

import numpy as np
import pytest
from networks import batches, bidirectional, computed, edited, single
from observed import BATCHES, EXACT, NETWORK, against, model, nudged, recorded, shifted, with_states

from rnnverify.adequacy import Examiner
from rnnverify.comparison import Verdict, worst_verdict
from rnnverify.deviation import Tolerance
from rnnverify.errors import MismatchError, OptionError
from rnnverify.judge import judge
from rnnverify.observed import Observed
from rnnverify.step import Allowed
from rnnverify.trace import FROM_H0, ZERO, Batch, Run, Trace


def test_identical_is_bit_for_bit() -> None:
    pair = against(model("B", NETWORK))
    assert (pair.verdict, pair.reasons) == ("IDENTICAL", ("states equal bit for bit, weights too",))
    assert (pair.baseline, pair.candidate) == ("A", "B")
    assert against(recorded("B", NETWORK)).reasons == ("states equal bit for bit",)


def test_one_unit_in_the_last_place_is_equivalent() -> None:
    pair = against(with_states(model("B", NETWORK), shifted(6e-8)))
    assert pair.verdict == "EQUIVALENT"
    assert pair.reasons == ("every step is explained by rounding, and the weights are equal",)
    recorded_only = against(with_states(recorded("B", NETWORK), shifted(6e-8)))
    assert (recorded_only.verdict, recorded_only.reasons) == ("EQUIVALENT", ("every step is explained by rounding",))


def test_another_dtype_of_the_states_is_not_identical() -> None:
    assert against(model("B", NETWORK, dtype="float64")).verdict == "EQUIVALENT"


def test_rounded_biases_are_equivalent_not_identical() -> None:
    d = NETWORK.layers[0].directions[0]
    one = edited(NETWORK, bias_input=d.bias.astype(np.float32), bias_recurrent=np.zeros((1, 4), np.float32))
    side = replace(model("B", NETWORK), network=one)
    pair = against(side)
    assert any(tensor.rounded for tensor in pair.tensors)
    assert pair.verdict == "EQUIVALENT"


@pytest.mark.parametrize("by", [1e-7, 1e-4, 0.5])
def test_differing_weights_are_never_equivalent(by: float) -> None:
    pair = against(model("B", nudged(by)))
    assert pair.verdict == "DIFFERENT"
    small = "the deviation is small on these inputs, but the networks are not the same"
    large = "20 of 80 states of B do not follow from the weights of A, even with rounding"
    assert pair.reasons[0] == (small if by < 1e-5 else large)
    (weights,) = (reason for reason in pair.reasons if "weights differ" in reason)
    assert weights.startswith("layer 0 kernel: 1 of 12 weights differ, by up to ")
    if by > 1e-5:
        begins = "it begins in layer 0 at step 0, before any state is fed back: "
        assert pair.reasons[1] == begins + "look at kernel, bias, activation and inputs"


def test_weights_that_differ_without_effect_are_different_even_with_equal_states() -> None:
    side = replace(model("B", NETWORK), network=nudged(1e-7))
    assert against(side).verdict == "DIFFERENT"


def test_a_tolerance_makes_it_close() -> None:
    tolerance = Tolerance(atol=0.01)
    pair = against(model("B", nudged(1e-3)), tolerance)
    assert pair.verdict == "CLOSE"
    assert pair.reasons[0] == "beyond rounding, states within atol 0.01"
    assert "weights differ" in pair.reasons[1]
    assert pair.tolerance == tolerance
    assert against(model("B", nudged(0.5)), tolerance).verdict == "DIFFERENT"
    assert against(with_states(recorded("B", NETWORK), shifted(0.009)), tolerance).verdict == "CLOSE"
    assert against(with_states(recorded("B", NETWORK), shifted(0.011)), tolerance).verdict == "DIFFERENT"


def test_states_are_said_to_follow_from_the_weights_of_the_side_that_has_some() -> None:
    broken = replace(with_states(recorded("B", NETWORK), shifted(3e-5)), label="A")
    pair = judge(broken, replace(model("A", NETWORK), label="B"), Examiner(BATCHES), Tolerance())
    assert pair.reasons[0].endswith(" states of A do not follow from the weights of B, even with rounding")


def test_a_tolerance_does_not_worsen_what_rounding_explains() -> None:
    pair = against(with_states(model("B", NETWORK), shifted(6e-8)), Tolerance(atol=1e-12))
    assert (pair.verdict, pair.rule.atol) == ("EQUIVALENT", 1e-5)


@pytest.mark.parametrize("name", [ZERO, FROM_H0])
def test_states_beyond_rounding_are_different(name: str) -> None:
    pair = against(with_states(model("B", NETWORK), shifted(3e-5), name))
    assert pair.verdict == "DIFFERENT"
    assert pair.reasons[0].endswith(" states of B do not follow from the weights of A, even with rounding")
    since = "it begins in layer 0 at step 2, the 2 steps before hold"
    assert pair.reasons[1] == (since if name == ZERO else pair.reasons[1]) and "it " in pair.reasons[1]
    assert pair.reasons[2].startswith("B departs from the weights of its own file, by ")
    assert (pair.headline.batch, pair.headline.output, pair.headline.deviation.at) == (name, "y", (1, 2, 3))


def test_final_states_are_compared_too() -> None:
    side = recorded("B", NETWORK)
    run = side.trace.runs[ZERO]
    wrong = replace(run, h_n=(run.h_n[0] + np.float32(0.5),))
    pair = against(replace(side, trace=Trace({**side.trace.runs, ZERO: wrong})))
    assert pair.verdict == "DIFFERENT"
    assert (pair.headline.batch, pair.headline.output) == (ZERO, "h_n[0]")
    without = Trace({name: Run(r.batch, r.y) for name, r in side.trace.runs.items()})
    assert against(replace(side, trace=without)).verdict == "IDENTICAL"


def test_final_states_of_other_shapes_are_different() -> None:
    side = recorded("B", NETWORK)
    runs = {name: replace(run, h_n=run.h_n * 2) for name, run in side.trace.runs.items()}
    pair = against(replace(side, trace=Trace(runs)))
    assert pair.verdict == "DIFFERENT"
    assert pair.reasons[1] == "the final states have other shapes: other layers or directions"


def test_other_structure_is_different_by_name() -> None:
    pair = against(model("B", NETWORK.with_activations(("relu",))))
    assert pair.verdict == "DIFFERENT"
    assert "layer 0: activation tanh against relu" in pair.reasons
    same_width = bidirectional(3, 4, merge="sum")
    assert "layer 0: number of directions 1 against 2" in against(model("B", same_width, batches(same_width))).reasons


def test_outputs_of_other_shapes_cannot_be_compared() -> None:
    wider = single(3, 5)
    for candidate in (recorded("B", wider, batches(wider)), recorded("B", NETWORK, batches(NETWORK, B=1))):
        with pytest.raises(MismatchError, match=r"states of shape \(2, 5, 4\) cannot be compared with"):
            against(candidate)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tolerance", [EXACT, Tolerance(1e9, 1e9)])
def test_nan_or_infinity_on_one_side_is_different(value: float, tolerance: Tolerance) -> None:
    sound, broken = recorded("B", NETWORK), with_states(recorded("B", NETWORK), shifted(value))
    pair = against(broken, tolerance, baseline=sound)
    assert (pair.verdict, pair.reasons) == ("DIFFERENT", ("the candidate: 1 states are NaN or infinite",))
    assert pair.headline.deviation.at == (1, 2, 3)
    pair = against(sound, tolerance, baseline=broken)
    assert (pair.verdict, pair.reasons) == ("DIFFERENT", ("the baseline: 1 states are NaN or infinite",))


@pytest.mark.parametrize("tolerance", [EXACT, Tolerance(1e9, 1e9)])
def test_nan_or_infinity_on_both_sides_is_inconclusive(tolerance: Tolerance) -> None:
    broken = with_states(recorded("B", NETWORK), shifted(np.inf))
    pair = against(broken, tolerance, baseline=broken)
    assert pair.verdict == "INCONCLUSIVE"
    assert pair.reasons == ("both sides reach NaN or infinity (1 and 1 values): use smaller inputs",)


def test_known_weights_that_differ_are_different_though_both_sides_overflow() -> None:
    a, b = (with_states(side, shifted(np.inf)) for side in (model("A", NETWORK), model("B", nudged(0.5))))
    pair = against(b, baseline=a)
    assert pair.verdict == "DIFFERENT"
    assert pair.reasons[0] == "both sides: 1 states are NaN or infinite"


def test_close_says_what_it_is() -> None:
    pair = against(model("B", nudged(1e-7)), Tolerance(0.01))
    assert (pair.verdict, pair.tolerance) == ("CLOSE", Tolerance(0.01))
    assert pair.reasons[0] == "weights that differ, states within atol 0.01"


def zeros(B: int = 2, T: int = 5) -> tuple[Batch]:
    return (Batch(ZERO, np.zeros((B, T, 3), np.float32)),)


def one_step(from_h0: bool) -> tuple[Batch, ...]:
    return batches(NETWORK, T=1)[: 1 + from_h0]


@pytest.mark.parametrize(
    ("given_batches", "words"),
    [
        (zeros(), "all inputs are zero: an error in the kernel could not be seen"),
        (one_step(False), "one step from zero states: an error in the recurrent kernel could not be seen"),
    ],
)
def test_blind_inputs_are_inconclusive_where_weights_are_unknown(given_batches: tuple[Batch, ...], words: str) -> None:
    a, b = model("A", NETWORK, given_batches), recorded("B", NETWORK, given_batches)
    for baseline, candidate in ((a, b), (b, a), (b, b)):
        pair = judge(baseline, candidate, Examiner(given_batches), EXACT)
        assert (pair.verdict, pair.reasons) == ("INCONCLUSIVE", (words,))
    moved = with_states(b, shifted(0.1, (0, 0, 0)))
    assert judge(a, moved, Examiner(given_batches), EXACT).verdict == "DIFFERENT"
    assert judge(a, moved, Examiner(given_batches), Tolerance(1.0)).verdict == "INCONCLUSIVE"
    assert judge(a, model("B", NETWORK, given_batches), Examiner(given_batches), EXACT).verdict == "IDENTICAL"
    assert judge(a, model("B", nudged(1.0), given_batches), Examiner(given_batches), EXACT).verdict == "DIFFERENT"


def test_one_step_from_initial_states_is_conclusive() -> None:
    given_batches = one_step(True)
    pair = judge(
        recorded("A", NETWORK, given_batches), recorded("B", NETWORK, given_batches), Examiner(given_batches), EXACT
    )
    assert pair.verdict == "IDENTICAL"


def test_one_step_from_initial_states_of_zero_is_blind() -> None:
    x = BATCHES[0].x[:, :1]
    given_batches = (Batch(ZERO, x), Batch(FROM_H0, x, (np.zeros((2, 4), np.float32),)))
    pair = judge(
        recorded("A", NETWORK, given_batches), recorded("B", NETWORK, given_batches), Examiner(given_batches), EXACT
    )
    assert pair.verdict == "INCONCLUSIVE"


def test_the_rule_counts_final_states_too() -> None:
    """The top outputs may be small while a lower layer's state is 1000: one unit in its last place is 6e-5."""

    def side(label: str, by: float) -> Observed:
        h = np.full((2, 4), 1000, np.float32) + np.float32(by)
        return Observed(label, None, Trace({ZERO: Run(BATCHES[0], np.zeros((2, 5, 4), np.float32), (h,))}), None)

    pair = against(side("B", 6.1e-5), baseline=side("A", 0))
    assert (pair.verdict, pair.reasons) == ("EQUIVALENT", ("every deviation is within the rule",))
    assert against(side("B", 1.0), baseline=side("A", 0)).verdict == "DIFFERENT"


@pytest.mark.parametrize(
    ("dtypes", "factor", "atol"),
    [
        (("float32", "float32"), 0.1, 1e-5),
        (("float64", "float64"), 0.1, 1e-13),
        (("float64", "float32"), 0.1, 1e-5),
        (("float16", "float64"), 0.1, 1e-3),
        (("float32", "float32"), 64.0, 64e-5),
    ],
)
def test_the_rule_is_of_the_coarser_dtype_and_the_largest_state(
    dtypes: tuple[str, str], factor: float, atol: float
) -> None:
    def side(label: str, dtype: str, factor: float) -> Observed:
        run = Run(BATCHES[0], np.full((2, 5, 4), factor, dtype))
        return Observed(label, None, Trace({ZERO: run}), None)

    pair = against(side("B", dtypes[1], 1 / 3), baseline=side("A", dtypes[0], factor))
    assert pair.rule.atol == pytest.approx(atol) and pair.rule.rtol == 0
    assert pair.rule_words.endswith(f"x the largest state, {max(factor, 1):.3g}")


def test_a_trace_that_was_widened_is_judged_by_what_it_was_computed_in() -> None:
    runs = {name: replace(run, y=run.y.astype(np.float64)) for name, run in recorded("B", NETWORK).trace.runs.items()}
    widened = Observed("B", None, Trace(runs), None)
    assert against(widened).verdict == "EQUIVALENT"
    assert against(widened).rule_words.startswith("float32 rule")


def test_the_worst_pair_decides() -> None:
    verdicts: tuple[Verdict, ...] = ("IDENTICAL", "EQUIVALENT", "CLOSE", "INCONCLUSIVE", "DIFFERENT")
    pairs = tuple(replace(against(recorded("B", NETWORK)), verdict=v) for v in verdicts)
    for count in range(1, 6):
        assert worst_verdict(pairs[:count]) == worst_verdict(pairs[:count][::-1]) == verdicts[count - 1]


def with_provenance(side: Observed, **facts: object) -> Observed:
    return replace(side, trace=replace(side.trace, provenance=facts))


def test_a_trace_recorded_from_other_kernels_is_different_by_name() -> None:
    kernels = NETWORK.kernel_fingerprint()
    assert against(with_provenance(recorded("B", NETWORK), kernels=kernels)).verdict == "IDENTICAL"
    pair = against(with_provenance(recorded("B", NETWORK), kernels="0" * 64))
    assert pair.verdict == "DIFFERENT"
    words = f"A holds kernels with fingerprint {kernels[:12]}, B was recorded from others: 000000000000"
    assert words in pair.reasons
    a, b = (with_provenance(recorded(label, NETWORK), kernels=label * 64) for label in "AB")
    assert judge(a, b, Examiner(BATCHES), EXACT).verdict == "DIFFERENT"


def test_a_recording_in_float16_is_another_dtype() -> None:
    half = replace(recorded("B", NETWORK), trace=computed(NETWORK, BATCHES, "float16"))
    pair = against(half)
    assert pair.verdict == "DIFFERENT"
    assert pair.reasons[1].startswith("the dtype is another: A computed in float32, B in float16 (--dtype float16 ")
    assert against(half, baseline=replace(half, label="A")).verdict != "DIFFERENT"


def test_a_stated_dtype_is_believed_where_the_values_bear_it_out() -> None:
    assert with_provenance(recorded("B", NETWORK), dtype="bfloat16").arithmetic == "float32"


def test_equal_weights_settle_what_files_state_and_no_more() -> None:
    one_step = tuple(replace(batch, x=batch.x[:, :1]) for batch in BATCHES)
    a, b = (model(label, NETWORK, one_step) for label in "AB")
    assert judge(a, b, Examiner(one_step), EXACT).verdict == "IDENTICAL"
    assumed = replace(b, assumptions=("direction: not in the file",))
    pair = judge(a, assumed, Examiner(one_step), EXACT)
    assert pair.verdict == "INCONCLUSIVE"
    words = "these inputs could not show that a sequence is read from its end, which is an assumption"
    assert pair.reasons == (words,)


def test_what_an_activation_may_be_off_is_settable() -> None:
    side = with_states(model("B", NETWORK), shifted(2e-6))
    for ulps, verdict in ((400, "EQUIVALENT"), (0, "DIFFERENT")):
        examiner = Examiner(BATCHES, Allowed(ulps))
        assert judge(model("A", NETWORK, dtype="float64"), side, examiner, EXACT).verdict == verdict
    for bad in (-1, float("nan"), float("inf"), 1e7):
        with pytest.raises(OptionError, match="--activation-error"):
            Allowed(bad)

"""Weights side by side: what a change of layout may round, and nothing more."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import bidirectional, edited, gated, networks, single, stacked

from rnnverify.canonical import Network
from rnnverify.comparison import TensorDifference
from rnnverify.weights import compare_weights, structure


def bias_of(baseline: Network, candidate: Network) -> TensorDifference:
    tensors, reasons = compare_weights(baseline, candidate)
    assert reasons == ()
    assert [t.name for t in tensors] == ["layer 0 kernel", "layer 0 recurrent kernel", "layer 0 bias"]
    return tensors[2]


@given(networks())
def test_a_network_equals_itself(network: Network) -> None:
    tensors, reasons = compare_weights(network, network)
    assert reasons == ()
    assert len(tensors) == 3 * len(list(network.directions()))
    assert not any(t.differing or t.rounded or t.max_abs for t in tensors)


@pytest.mark.parametrize("name", ["kernel", "recurrent_kernel"])
def test_one_unit_in_the_last_place_of_a_kernel_differs(name: str) -> None:
    network = single(3, 4)
    array = getattr(network.layers[0].directions[0], name).copy()
    before = float(array[0, 2, 1])
    array[0, 2, 1] = np.nextafter(array[0, 2, 1], np.float32(9))
    tensors, _ = compare_weights(network, edited(network, **{name: array}))
    (changed,) = [t for t in tensors if t.differing or t.rounded]
    assert changed.map is not None
    assert replace(changed, map=None) == TensorDifference(
        name=f"layer 0 {name.replace('_', ' ')}",
        shape=array.shape,
        differing=1,
        max_abs=float(array[0, 2, 1]) - before,
        at=(2, 1),
        baseline_value=before,
        candidate_value=float(array[0, 2, 1]),
        max_ulp=1.0,
    )


def test_a_free_split_of_the_bias_is_no_difference() -> None:
    first, second = (np.array([[a, 0.25, -1.5, 2.0]], np.float32) for a in (0.5, 0.75))
    two = edited(single(), bias_input=first, bias_recurrent=second)
    for a, b in ((second, first), (first + second, 0 * first), (0 * first, first + second)):
        found = bias_of(two, edited(single(), bias_input=a, bias_recurrent=b))
        assert (found.differing, found.rounded, found.max_abs) == (0, 0, 0)


two_biases = st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(["float16", "float32", "float64"]))


@given(two_biases)
def test_the_rounding_of_the_sum_to_one_bias_is_rounded(made: tuple[int, str]) -> None:
    seed, dtype = made
    first, second = np.random.default_rng(seed).uniform(-2, 2, (2, 1, 4)).astype(dtype)
    two = edited(single(), bias_input=first, bias_recurrent=second)
    one = edited(single(), bias_input=(first + second).astype(dtype), bias_recurrent=np.zeros_like(first))
    for found in (bias_of(two, one), bias_of(one, two)):
        exact = first.astype(np.float64) + second
        assert found.differing == 0
        assert found.rounded == np.count_nonzero(exact != (first + second))


def test_one_unit_in_the_last_place_more_than_rounding_differs() -> None:
    # 1 + 2^-20 and 2^-30: the sum has the first as its nearest float32
    first = np.full((1, 4), 1 + 2.0**-20, np.float32)
    second = np.full((1, 4), 2.0**-30, np.float32)
    two = edited(single(), bias_input=first, bias_recurrent=second)
    zero = np.zeros_like(first)
    nearest = first + second
    assert bias_of(two, edited(single(), bias_input=nearest, bias_recurrent=zero)).rounded == 4
    for away in (np.float32(9), np.float32(-9)):
        other = nearest.copy()
        other[0, 3] = np.nextafter(nearest[0, 3], away)
        found = bias_of(two, edited(single(), bias_input=other, bias_recurrent=zero))
        assert (found.differing, found.rounded, found.at) == (1, 3, (3,))


def test_two_biases_on_each_side_may_round_each_part() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.uniform(1, 2, (1, 4)).astype(np.float32) for _ in range(2))
    moved = np.float32(0.3)
    two = edited(single(), bias_input=first, bias_recurrent=second)
    other = edited(single(), bias_input=first + moved, bias_recurrent=second - moved)
    assert bias_of(two, other).differing == 0
    wrong = other.layers[0].directions[0].bias_input + np.float32(1e-6)
    assert bias_of(two, edited(other, bias_input=wrong)).differing == 4


def test_one_bias_on_each_side_is_held_to_the_last_bit() -> None:
    one = np.ones((1, 4), np.float32)
    below = np.nextafter(one, 0 * one)  # below a power of two the next float is half as far
    a, b = (edited(single(), bias_input=bias, bias_recurrent=0 * one) for bias in (one, below))
    for baseline, candidate in ((a, b), (b, a)):
        assert bias_of(baseline, candidate).differing == 4


def test_a_bias_left_out_differs() -> None:
    network = single()
    zero = np.zeros((1, 4), np.float32)
    found = bias_of(network, edited(network, bias_recurrent=zero))
    assert found.differing == 4


def test_tensors_of_other_shapes_are_a_matter_of_structure() -> None:
    tensors, reasons = compare_weights(single(3, 4), single(3, 5))
    assert tensors == ()
    assert reasons == ("layer 0: hidden size 4 against 5",)


def test_structure_sentences() -> None:
    network = bidirectional()
    layer = network.layers[0]

    def reasons(**changes: object) -> tuple[str, ...]:
        return compare_weights(network, Network((replace(layer, **changes),)))[1]  # type: ignore[arg-type]

    assert reasons() == ()
    assert reasons(activation="relu") == ("layer 0: activation tanh against relu",)
    assert reasons(merge="sum") == ("layer 0: directions merged by concat against sum",)
    assert reasons(directions=layer.directions[:1]) == ("layer 0: number of directions 2 against 1",)
    assert reasons(time_restored=False) == (
        "layer 0: the outputs of a backward run are turned back in time on one side only",
    )
    backwards = "layer 0: runs forwards against backwards"
    assert compare_weights(single(), single(reverse=True))[1] == (backwards,)
    assert compare_weights(stacked(3, [4]), stacked(3, [4, 4]))[1] == ("the baseline has 1 layers, the other 2",)


def test_a_tensor_of_several_gates_is_located_by_gate_too() -> None:
    network = gated("gru", 2, 4)
    kernel = network.layers[0].directions[0].kernel.copy()
    kernel[2, 1, 3] += 1
    (found, *_), _ = compare_weights(network, edited(network, kernel=kernel))
    assert found.at == (2, 1, 3)


def test_structure_in_words() -> None:
    assert structure(single(3, 4)) == "1 layer, 3 -> 4, tanh"
    assert structure(stacked(5, [8, 6]).with_activations(("tanh", "relu"))) == "2 layers, 5 -> 8 -> 6, tanh/relu"
    assert structure(bidirectional(3, 4, merge="ave")) == "1 layer, 3 -> 4, tanh, bidirectional (ave)"
    reverse = single(3, 4, reverse=True)
    assert structure(reverse) == "1 layer, 3 -> 4, tanh, backwards"
    unrestored = Network((replace(reverse.layers[0], time_restored=False),))
    assert structure(unrestored) == "1 layer, 3 -> 4, tanh, backwards, outputs not turned back"


def test_a_kernel_rebuilt_from_parts_may_be_rounded_and_no_more() -> None:
    network = single(3, 4)
    kernel = network.layers[0].directions[0].recurrent_kernel
    near, far = kernel * np.float32(1 + 2.0**-22), kernel * np.float32(1 + 2.0**-20)
    for other, rebuilt, counts in (
        (near, True, (0, 16)),  # entries that differ, that are rounded
        (far, True, (16, 0)),
        (near, False, (16, 0)),
    ):
        (direction,) = edited(network, recurrent_kernel=other).layers[0].directions
        layer = replace(network.layers[0], directions=(replace(direction, rebuilt=rebuilt),))
        for a, b in ((network, Network((layer,))), (Network((layer,)), network)):
            found = compare_weights(a, b)[0][1]
            assert (found.differing, found.rounded) == counts


def test_each_bias_of_a_candidate_counts_where_the_reset_gate_comes_after_the_product() -> None:
    for reset_after, differing in ((True, 2), (False, 0)):
        network = gated("gru", reset_after=reset_after)
        d = network.layers[0].directions[0]
        b_ih, b_hh = d.bias_input.copy(), d.bias_recurrent.copy()
        b_ih[2], b_hh[2] = d.bias_input[2] + d.bias_recurrent[2], 0
        tensors, reasons = compare_weights(network, edited(network, bias_input=b_ih, bias_recurrent=b_hh))
        assert sum(tensor.differing > 0 for tensor in tensors) == differing and not reasons


def test_peepholes_and_projections_are_compared() -> None:
    network = gated("lstm", P=3, peepholes=True)
    d = network.layers[0].directions[0]
    assert d.peephole is not None and d.projection is not None
    for changed in ({"peephole": d.peephole * 2}, {"projection": d.projection * 2}):
        tensors, reasons = compare_weights(network, edited(network, **changed))
        assert [t.name for t in tensors if t.differing] == [f"layer 0 {next(iter(changed))}"] and not reasons
    _, reasons = compare_weights(network, edited(network, peephole=None))
    assert reasons == ("layer 0: peepholes (3, 4) against none",)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (
            gated("gru"),
            gated("gru", reset_after=False),
            "reset gate acts after it against before the recurrent product",
        ),
        (gated("gru"), gated("lstm"), "cell gru against lstm"),
        (gated("lstm"), gated("lstm", activation="hard_sigmoid"), "gate activation sigmoid against hard_sigmoid"),
        (gated("lstm"), gated("lstm", output="relu"), "output activation tanh against relu"),
        (gated("lstm"), gated("lstm", cell_clip=3.0), "cell clip none against 3"),
    ],
)
def test_formulas_that_differ_are_named(a: Network, b: Network, words: str) -> None:
    assert compare_weights(a, b)[1] == (f"layer 0: {words}",)
    assert compare_weights(a, a)[1] == ()


def test_gated_structure_in_words() -> None:
    assert structure(gated("gru", 5, 8)) == "1 layer, 5 -> 8, gru (reset after)"
    plain = gated("lstm", 5, 8, P=3, peepholes=True, activation="hard_sigmoid")
    assert structure(plain) == "1 layer, 5 -> 8, lstm (hard_sigmoid gates, peepholes, projected to 3)"

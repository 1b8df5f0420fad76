"""What weights alone leave open, set anew: against the same network with a configuration that states it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_models import held, layer, named, rnn, sequential, states, weights

from rnnverify.adapters.keras.adapter import read, restate
from rnnverify.errors import SelectorError

MERGES = ["concat", "sum", "mul", "ave"]
X = np.random.default_rng(1).normal(size=(2, 4, 2))
BOTH = {"b": named("b/forward_i/", weights(2, 3)) | named("b/backward_i/", weights(2, 3))}
ONE = {"a": named("a/", weights(2, 3))}


def bidirectional(merge: Any) -> dict[str, Any]:
    return sequential(layer("Bidirectional", "b", layer=rnn("i"), merge_mode=merge))


@pytest.mark.parametrize("merge", MERGES)
def test_a_merge_mode_is_as_if_stated(merge: str) -> None:
    stated = read(held(bidirectional(merge), BOTH), None)
    ours = restate(read(held(None, BOTH), None), merge, None)
    assert ours.network.fingerprint() == stated.network.fingerprint()
    assert ours.recipe.layers == stated.recipe.layers and ours.roles == stated.roles
    assert f"merge_mode is {merge}" in ours.assumptions and not ours.activation_stated
    assert np.array_equal(states(ours.network, X), states(stated.network, X))


@pytest.mark.parametrize("backwards", [True, False])
def test_a_direction_is_as_if_stated(backwards: bool) -> None:
    stated = read(held(sequential(rnn("a", go_backwards=backwards)), ONE), None)
    ours = restate(read(held(None, ONE), None), None, backwards)
    assert ours.network.fingerprint() == stated.network.fingerprint()
    assert ours.recipe.layers == stated.recipe.layers and ours.roles == stated.roles
    assert f"go_backwards is {backwards}" in ours.assumptions


def test_stacked_cells_turn_the_input_once() -> None:
    arrays = named("r/", weights(2, 3)) | named("r/", weights(3, 3), "_1:0")
    ours = restate(read(held(None, {"r": arrays, "s": named("s/", weights(3, 3))}), None), None, True)
    assert [made.directions[0].reverse for made in ours.network.layers] == [True, False, True]
    assert [made.time_restored for made in ours.network.layers] == [False, True, False]
    assert [spec["go_backwards"] for spec in ours.recipe.layers] == [True, True]
    assert ours.roles["r/r/kernel_1:0"] == "layer 1 kernel"
    assert ours.roles["s/s/kernel:0"] == "layer 2 reverse kernel"


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(st.sampled_from(MERGES), st.booleans()), max_size=3))
def test_there_and_back(turns: list[tuple[str, bool]]) -> None:
    groups = {**ONE, "b": named("b/forward_i/", weights(3, 3)) | named("b/backward_i/", weights(3, 3))}
    first = read(held(None, groups), None)
    reading = first
    for merge, backwards in turns:
        reading = restate(reading, merge, backwards)
    back = restate(reading, "concat", False)
    assert back.network.fingerprint() == first.network.fingerprint()
    assert (back.recipe.layers, back.roles, back.assumptions) == (first.recipe.layers, first.roles, first.assumptions)


def test_nothing_asked_or_nothing_open_changes_nothing() -> None:
    alone = read(held(None, ONE), None)
    stated = read(held(bidirectional("sum"), BOTH), None)
    # Keras 2.0.9 wrote layers without their cells: the activation is open, the direction is not
    cells = sequential(layer("RNN", "a", cell=layer("SimpleRNNCell", "c"), go_backwards=True))
    half_stated = read(held(cells, ONE), None)
    assert not half_stated.activation_stated
    assert restate(alone, None, None) is alone and restate(alone, "sum", None) is alone
    assert restate(stated, "ave", True) is stated and restate(half_stated, "sum", False) is half_stated


def test_what_does_not_fit_is_refused() -> None:
    above = named("c/forward_j/", weights(6, 3)) | named("c/backward_j/", weights(6, 3))
    reading = read(held(None, BOTH | {"c": above}), None)
    assert reading.part == "b+c"
    with pytest.raises(ValueError, match="layer 1 reads 6 features, but layer 0 has 3 outputs"):
        restate(reading, "sum", None)
    with pytest.raises(ValueError, match="merge mode 'max' is none of concat, sum, mul, ave"):
        restate(reading, "max", None)


def test_sizes_may_rule_concat_out() -> None:
    """Then the layers are asked for rather than stacked; asked for together, their directions are taken as summed."""
    contents = held(None, BOTH | {"c": named("c/", weights(3, 3))})
    with pytest.raises(SelectorError, match=r"2 recurrent parts; .*#b\+c$"):
        read(contents, None)
    assert "merge_mode is concat" in read(contents, "b").assumptions
    reading = read(contents, "b+c")
    assert reading.network.layers[0].merge == "sum" and "merge_mode is sum" in reading.assumptions
    assert restate(reading, "ave", None).network.layers[0].merge == "ave"

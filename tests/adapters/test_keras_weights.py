"""Weights alone: which layers a file holds, which of them are one part, and what is assumed of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_models import held, held_by_group, named, numbered, weights

from rnnverify.adapters.keras.adapter import read
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents
from rnnverify.errors import SelectorError, UnsupportedError

DENSE = weights(3, 3)[:1]


def groups(*sizes: tuple[str, int, int]) -> dict[str, dict[str, Array]]:
    return {name: named(f"{name}/", weights(I, H)) for name, I, H in sizes}


def keras3(*sizes: tuple[str, int, int], others: dict[str, int] | None = None, **metadata: Any) -> Contents:
    """Recurrent layers (group, I, H), and other groups with so many tensors, listed as HDF5 does: by the alphabet."""
    tensors: dict[str, Array] = {}
    for group, I, H in sizes:
        tensors |= numbered(f"{group}/cell", weights(I, H))
    for group, count in (others or {}).items():
        tensors |= numbered(group, DENSE * count)
    return held_by_group(None, {name: tensors[name] for name in sorted(tensors)}, **metadata)


TWO = groups(("a", 2, 3), ("b", 3, 3))
ONE3 = ("layers/simple_rnn", 2, 3)
TWO3 = (ONE3, ("layers/simple_rnn_1", 3, 3))
IN_ORDER = "layers feed each other directly, in the order of the file"


def test_listed_layers_stack_in_the_order_of_the_file() -> None:
    reading = read(held(None, TWO), None)
    assert reading.part == "a+b" and not reading.activation_stated
    assert reading.assumptions == ("the class is SimpleRNN: the weights do not say", "go_backwards is False", IN_ORDER)
    assert not reading.recipe.loadable and reading.recipe.why_not == "the file holds weights only"


def test_listed_layers_are_split_by_weights_between_them_alone() -> None:
    head = {"d": named("d/", DENSE)}
    assert read(held(None, TWO | head), None).part == "a+b"
    with pytest.raises(SelectorError, match=r"2 recurrent parts; choose one: m\.h5#a, m\.h5#b, m\.h5#a\+b$"):
        read(held(None, {"a": TWO["a"], **head, "b": TWO["b"]}), None)


def test_listed_layers_that_do_not_fit_are_parts() -> None:
    with pytest.raises(SelectorError, match=r"2 recurrent parts; choose one: m\.h5#a, m\.h5#b$"):
        read(held(None, groups(("a", 2, 3), ("b", 7, 3))), None)


def test_other_listed_layers_are_named_with_their_tensors() -> None:
    others = {"e": {"e/embeddings:0": DENSE[0]}, "a": TWO["a"], "n": {"n/gamma:0": DENSE[0], "n/beta:0": DENSE[0]}}
    reading = read(held(None, others | {"dropout": {}}), None)
    assert reading.not_compared == ("e (1 tensor)", "n (2 tensors)")


@pytest.mark.parametrize(
    ("inner", "between"),
    [
        ({"a/kernel:0": 0, "a/recurrent_kernel:0": 1, "a/bias:0": 2}, {"d/kernel:0": 1, "d/bias:0": 2}),
        ({"a_1_W:0": 0, "a_1_U:0": 1, "a_1_b:0": 2}, {"d_1_W:0": 1, "d_1_b:0": 2}),
    ],
)
def test_other_layers_in_a_nested_model_are_named_and_split(inner: dict[str, int], between: dict[str, int]) -> None:
    arrays = weights(2, 3)
    inside = {name: arrays[k] for name, k in (inner | between).items()}
    contents = held(None, {"inner": inside, "b": TWO["b"]})
    own = next(iter(inner)).partition("/")[0].removesuffix("_W:0")
    assert read(contents, own).not_compared[0] == f"inner/{own.replace('a', 'd')} (2 tensors)"
    with pytest.raises(SelectorError, match=f"2 recurrent parts; .*#{own}\\+b$"):
        read(contents, None)


@pytest.mark.parametrize("stray", ["a/attention:0", "a/simple_rnn_cell/extra:0"])
def test_a_layer_with_more_weights_than_its_cells_is_refused(stray: str) -> None:
    contents = held(None, {"a": named("a/", weights(2, 3)) | {stray: DENSE[0]}})
    with pytest.raises(UnsupportedError, match=f"weights that no cell of its kind has \\(a/{stray}\\)"):
        read(contents, None)
    with pytest.raises(UnsupportedError, match="weights that no cell of its kind has"):
        read(keras3(ONE3, others={"layers/simple_rnn/attention": 1}), None)


def test_keras_3_names_other_layers_with_their_tensors() -> None:
    others = {
        "layers/embedding": 1,
        "layers/conv1d": 2,
        "layers/multi_head_attention/query_dense": 2,
        "layers/multi_head_attention/key_dense": 2,
        "layers/sequential/layers/dense": 2,
        "optimizer": 5,
        "layers/dropout/seed_generator": 1,
    }
    reading = read(keras3(ONE3, others=others, names={"layers/conv1d": "front"}), None)
    assert {*reading.not_compared} == {
        "embedding (1 tensor)",
        "front (2 tensors)",
        "multi_head_attention (4 tensors)",
        "sequential/dense (2 tensors)",
    }
    assert reading.assumptions == ("go_backwards is False",)
    assert reading.unused["optimizer/vars/0"] == "optimizer state"
    assert reading.unused["layers/dropout/seed_generator/vars/0"] == "state of a random generator"


@pytest.mark.parametrize(
    "other", ["layers/dense", "layers/layer_normalization", "layers/time_distributed/layer", "head"]
)
def test_keras_3_does_not_say_what_lies_between(other: str) -> None:
    contents = keras3(*TWO3, others={other: 2})
    with pytest.raises(SelectorError, match=r"#simple_rnn, .*#simple_rnn_1, .*#simple_rnn\+simple_rnn_1$"):
        read(contents, None)
    reading = read(contents, "simple_rnn+simple_rnn_1")
    assert len(reading.network.layers) == 2 and reading.not_compared and IN_ORDER in reading.assumptions


def test_keras_3_a_gated_layer_may_lie_between() -> None:
    contents = keras3(*TWO3)
    lstm = held_by_group(None, numbered("layers/lstm/cell", weights(3, 3, gates=4))).tensors
    with pytest.raises(SelectorError, match=r"3 recurrent parts; choose one: m\.h5#lstm, .*#simple_rnn, .*_1$"):
        read(replace(contents, tensors={**contents.tensors, **lstm}), None)


def test_keras_3_a_group_holds_the_gates_of_its_class() -> None:
    with pytest.raises(UnsupportedError, match="'lstm' has 1 gates a unit, and is not compared yet"):
        read(keras3(("layers/lstm", 3, 3)), None)


def test_keras_3_embeddings_lie_below() -> None:
    reading = read(keras3(*TWO3, others={"layers/embedding": 1}), None)
    assert reading.part == "simple_rnn+simple_rnn_1" and reading.not_compared == ("embedding (1 tensor)",)


def test_keras_3_gives_no_order_to_classes() -> None:
    """Where sizes leave one order it is taken, and told; where they leave two, none is."""
    rnn, simple = ("layers/rnn", 3, 4), ("layers/simple_rnn", 2, 3)
    reading = read(keras3(rnn, simple), None)
    assert reading.part == "simple_rnn+rnn" and "layers feed each other directly, in this order" in reading.assumptions
    with pytest.raises(SelectorError, match=r"2 recurrent parts; .*#rnn, .*#simple_rnn, .*#rnn\+simple_rnn$"):
        read(keras3(("layers/rnn", 3, 3), ("layers/simple_rnn", 3, 3)), None)


def test_attributes_of_subclassed_models_are_parts() -> None:
    contents = keras3(("enc", 2, 3), ("dec", 3, 3), others={"head": 2})
    with pytest.raises(SelectorError, match=r"2 recurrent parts; choose one: m\.h5#dec, m\.h5#enc, m\.h5#enc\+dec$"):
        read(contents, None)
    reading = read(contents, "enc")
    assert reading.not_compared == ("recurrent layer 'dec'", "head (2 tensors)")
    assert "the class is SimpleRNN: the weights do not say" in reading.assumptions


def test_a_recurrent_layer_in_a_wrapper_is_of_the_wrapper_s_class() -> None:
    with pytest.raises(UnsupportedError, match="class 'time_distributed', which is not compared yet"):
        read(keras3(("layers/time_distributed/layer", 2, 3)), None)


def numbered_layers(sizes: list[int]) -> Contents:
    """Layers of one class that chain through `sizes`."""
    made = [(f"layers/simple_rnn{f'_{k}' if k else ''}", sizes[k], sizes[k + 1]) for k in range(len(sizes) - 1)]
    return keras3(*made)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(1, 3), min_size=2, max_size=13))
def test_numbered_layers_stack_as_keras_counts(sizes: list[int]) -> None:
    network = read(numbered_layers(sizes), None).network
    assert [network.input_size, *(made.hidden_size for made in network.layers)] == sizes


def test_names_that_keras_3_notes_are_used() -> None:
    assert read(keras3(ONE3, names={"layers/simple_rnn": "enc"}), None).part == "enc"


def test_assumptions_are_those_of_the_part() -> None:
    halves = named("b/forward_x/", weights(2, 3)) | named("b/backward_x/", weights(2, 3))
    contents = held(None, {"a": TWO["a"], "b": halves})
    assert "go_backwards is False" not in read(contents, "b").assumptions
    assert "merge_mode is concat" not in read(contents, "a").assumptions


def test_a_bias_of_keras_0_3_is_no_recurrent_kernel() -> None:
    dense = {"param_0": np.zeros((3, 2), np.float32), "param_1": np.zeros(2, np.float32)}
    rnn = dict(zip(("param_0", "param_1", "param_2"), weights(2, 3), strict=True))
    assert read(held(None, {"layer_0": rnn, "layer_1": dense}), None).around.words == ("Dense 'layer_1', 3 -> 2",)

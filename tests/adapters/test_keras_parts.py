"""Which layers form one part, and which part is meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_models import functional, held, held_by_group, layer, named, numbered, rnn, sequential, weights

from rnnverify.adapters.keras import read
from rnnverify.canonical import Array
from rnnverify.containers.contents import Contents
from rnnverify.errors import SelectorError


def stored(*sizes: tuple[str, int, int]) -> dict[str, dict[str, Array]]:
    return {name: named(f"{name}/", weights(I, H)) for name, I, H in sizes}


TWO = stored(("a", 2, 3), ("b", 3, 3))
KERAS3_B = {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["a", 0, 0]}}], "kwargs": {}}


@pytest.mark.parametrize(
    "between",
    [
        [],
        [layer("Dropout", "d", rate=0.5)],
        [layer("Activation", "d", activation="linear"), layer("SpatialDropout1D", "e")],
    ],
)
def test_layers_that_feed_each_other_are_one_part(between: list[dict[str, Any]]) -> None:
    reading = read(held(sequential(rnn("a"), *between, rnn("b")), TWO), None)
    assert reading.part == "a+b" and len(reading.network.layers) == 2


@pytest.mark.parametrize(
    "between",
    [
        layer("Dense", "d"),
        layer("TimeDistributed", "d", layer=layer("Dense", "e")),
        layer("Activation", "d", activation="relu"),
        layer("BatchNormalization", "d"),
        layer("LSTM", "d"),
    ],
)
def test_other_layers_split_them(between: dict[str, Any]) -> None:
    with pytest.raises(SelectorError, match=r"holds 2 recurrent parts; choose one: m\.h5#a, m\.h5#b, m\.h5#a\+b$"):
        read(held(sequential(rnn("a"), between, rnn("b")), TWO), None)


def test_a_last_step_in_between_splits_them() -> None:
    model = sequential(rnn("a", return_sequences=False), layer("RepeatVector", "r"), rnn("b"))
    with pytest.raises(SelectorError, match="2 recurrent parts"):
        read(held(model, TWO), None)


@pytest.mark.parametrize("node", [[[["a", 0, 0]]], [[["a", 0, 0, {}]]], [["a", 0, 0, {}]], [KERAS3_B]])
def test_inbound_nodes_of_all_versions(node: list[Any]) -> None:
    x: tuple[dict[str, Any], list[Any]] = (layer("InputLayer", "x"), [])
    model = functional("b", x, (rnn("a"), [[["x", 0, 0, {}]]]), (rnn("b"), node))
    assert read(held(model, TWO), None).part == "a+b"


def test_a_state_that_is_read_as_input_is_no_sequence() -> None:
    x: tuple[dict[str, Any], list[Any]] = (layer("InputLayer", "x"), [])
    model = functional("b", x, (rnn("a"), [[["x", 0, 0, {}]]]), (rnn("b"), [[["a", 0, 1, {}]]]))
    with pytest.raises(SelectorError, match="2 recurrent parts"):
        read(held(model, TWO), None)


def test_a_layer_with_two_readers_ends_its_part() -> None:
    from_a = [[["a", 0, 0, {}]]]
    model = functional("b", (rnn("a"), []), (rnn("b"), from_a), (rnn("c"), from_a))
    with pytest.raises(SelectorError, match=r"3 recurrent parts; choose one: m\.h5#a, m\.h5#b, m\.h5#c$"):
        read(held(model, stored(("a", 2, 3), ("b", 3, 3), ("c", 3, 4))), None)


def test_selectors_pick_a_part_a_layer_or_an_order() -> None:
    contents = held(sequential(rnn("a"), rnn("b")), TWO)
    assert read(contents, "a+b").part == "a+b"
    alone = read(contents, "b")
    assert alone.part == "b" and alone.network.input_size == 3 and alone.not_compared == ("SimpleRNN 'a'",)
    with pytest.raises(SelectorError, match=r"'b\+a' do not fit"):
        read(contents, "b+a")
    for wrong in ("c", "a+c", "a+a", "", "+"):
        with pytest.raises(SelectorError, match=r"no recurrent part is named .*choose one: m\.h5#a\+b"):
            read(contents, wrong)


def test_layers_of_one_name_are_told_apart_by_their_models() -> None:
    model = sequential(sequential(rnn("a"), name="one"), layer("Dense", "d"), sequential(rnn("a"), name="two"))
    weights_of = {"one": named("a/", weights(2, 3)), "two": named("a/", weights(5, 3))}
    assert read(held(model, weights_of), "two/a").network.input_size == 5


@pytest.mark.parametrize(
    ("model", "groups", "there"),
    [
        (sequential(layer("Dense", "d")), {"d": {"kernel:0": weights(2, 3)[0]}}, "but Dense 'd'"),
        (sequential(), {}, "but nothing at all"),
        (None, {}, "but nothing at all"),
    ],
)
def test_files_without_recurrent_layers_say_what_is_there(model: Any, groups: Any, there: str) -> None:
    with pytest.raises(SelectorError, match=there):
        read(held(model, groups), None)


def test_weights_alone_stack_in_the_order_of_the_file() -> None:
    reading = read(held(None, TWO), None)
    assert reading.part == "a+b" and not reading.activation_stated
    assert "layers feed each other directly, in the order of the file" in reading.assumptions
    assert not reading.recipe.loadable and reading.recipe.why_not == "the file holds weights only"


def test_weights_alone_are_split_by_other_weights() -> None:
    groups = {"a": TWO["a"], "d": {"d/kernel:0": weights(3, 3)[0]}, "b": TWO["b"]}
    with pytest.raises(SelectorError, match=r"2 recurrent parts; .*#a\+b$"):
        read(held(None, groups), None)


def test_weights_alone_that_do_not_fit_are_parts() -> None:
    with pytest.raises(SelectorError, match="2 recurrent parts"):
        read(held(None, stored(("a", 2, 3), ("b", 7, 3))), None)


def numbered_layers(sizes: list[int]) -> Contents:
    """A `.weights.h5` of Keras 3 whose layers chain through `sizes`, listed as HDF5 does: by the alphabet."""
    tensors: dict[str, Array] = {}
    for k in range(len(sizes) - 1):
        tensors |= numbered(f"layers/simple_rnn{f'_{k}' if k else ''}/cell", weights(sizes[k], sizes[k + 1]))
    return held_by_group(None, {name: tensors[name] for name in sorted(tensors)})


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(1, 3), min_size=2, max_size=13))
def test_numbered_layers_stack_as_keras_counts(sizes: list[int]) -> None:
    network = read(numbered_layers(sizes), None).network
    assert [network.input_size, *(made.hidden_size for made in network.layers)] == sizes


def test_names_that_keras_3_notes_are_used() -> None:
    tensors = numbered("layers/simple_rnn/cell", weights(2, 3))
    assert read(held_by_group(None, tensors, names={"layers/simple_rnn": "enc"}), None).part == "enc"

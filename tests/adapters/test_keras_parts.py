"""Which layers form one part, and which part is meant."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from keras_models import functional, held, held_by_group, layer, named, rnn, sequential, weights

from rnnverify.adapters.keras.adapter import read
from rnnverify.canonical import Array
from rnnverify.errors import SelectorError, UnsupportedError


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
        layer("ConvLSTM2D", "d"),
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
        (
            sequential(layer("Dense", "d")),
            {"d": {"kernel:0": weights(2, 3)[0]}},
            "no recurrent layer; it holds Dense 'd'; give the file of a recurrent model",
        ),
        (sequential(), {}, "holds no recurrent layer; it holds no layer at all"),
        (None, {}, "it holds no layer at all"),
        (None, {"d": named("d/", weights(2, 3)[:1])}, r"it holds d \(1 tensor\)"),
    ],
)
def test_files_without_recurrent_layers_say_what_is_there(model: Any, groups: Any, there: str) -> None:
    for selector in (None, "d"):
        with pytest.raises(SelectorError, match=there):
            read(held(model, groups), selector)


@pytest.mark.parametrize(
    ("framework", "name", "whose"),
    [
        ("torch", "rnn.weight_ih_l0", "PyTorch's"),
        (None, "rnn.weight_hh_l0_reverse", "PyTorch's"),
        (None, "w", "another framework's"),
        ("tensorflow", "rnn/basic_rnn_cell/kernel", "TensorFlow's"),
    ],
)
def test_names_of_other_frameworks_are_told_from_keras_s(framework: Any, name: str, whose: str) -> None:
    contents = replace(held_by_group(None, {name: weights(2, 3)[0]}), framework=framework)
    with pytest.raises(SelectorError, match=f"such as '{name}', are {whose}, not Keras's; leave the prefix keras: out"):
        read(contents, None)


def test_time_first_is_a_note_and_stacks_with_its_like_only() -> None:
    first = rnn("a", time_major=True)
    reading = read(held(sequential(first, rnn("b", time_major=True)), TWO), None)
    assert reading.part == "a+b" and "inputs and states are compared batch first" in reading.notes[0]
    contents = held(sequential(first, rnn("b")), TWO)
    with pytest.raises(SelectorError, match=r"2 recurrent parts; choose one: m\.h5#a, m\.h5#b$"):
        read(contents, None)
    with pytest.raises(SelectorError, match="do not fit"):
        read(contents, "a+b")


def test_two_outputs_of_a_bidirectional_layer_are_compared_side_by_side() -> None:
    both = layer("Bidirectional", "b", layer=rnn("i"), merge_mode=None)
    groups = TWO | {"b": named("b/forward_i/", weights(3, 3)) | named("b/backward_i/", weights(3, 3))}
    reading = read(held(sequential(rnn("a"), both), groups), None)
    assert reading.part == "a+b" and reading.network.output_size == 6
    assert reading.network.layers[1].merge == "concat" and reading.recipe.layers[1]["merge_mode"] == "concat"
    (note,) = reading.notes
    assert note.startswith("Bidirectional 'b' hands its directions on as two outputs")
    contents = held(sequential(both, rnn("c")), groups | stored(("c", 6, 3)))
    with pytest.raises(UnsupportedError, match=r"'b' hands two outputs \(merge_mode None\) to a recurrent layer"):
        read(contents, None)
    assert read(contents, "b").part == "b" and read(contents, "c").part == "c"

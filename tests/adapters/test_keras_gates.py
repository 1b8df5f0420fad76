"""GRU and LSTM of Keras: gates in one array, one array for each gate, and cuDNN's; what configurations leave out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_models import gates, held, held_by_group, layer, named, numbered, rnn, sequential, weights
from networks import gated
from test_layouts import as_keras_model, assert_equal

from rnnverify.adapters.keras import adapter as keras
from rnnverify.adapters.keras.cells import default_gates
from rnnverify.adapters.layouts import lay_out
from rnnverify.adapters.reading import Reading
from rnnverify.canonical import GATES, Array, CellKind, Gating, Layer, Merge, Network, reorder
from rnnverify.containers import open_model
from rnnverify.errors import UnsupportedError

GENUINE = Path(__file__).parents[2] / "fixtures/genuine"
TARGET = Path("target")


def read(stored: dict[str, Any], arrays: list[Array], version: str = "2.2.4") -> Reading:
    return keras.read(held(sequential(stored), {"a": named("a/", arrays)}, version=version), None)


@st.composite
def stacks(draw: st.DrawFn) -> Network:
    """Up to three layers of any kind, of which some have two directions."""
    layers: list[Layer] = []
    for k in range(draw(st.integers(1, 3))):
        cell: CellKind = draw(st.sampled_from(("gru", "lstm", "rnn")))
        made = gated(cell, layers[-1].output_size if layers else 2, 3, seed=draw(st.integers(0, 99))).layers[0]
        gating = Gating(draw(st.sampled_from(("sigmoid", "hard_sigmoid"))), reset_after=draw(st.booleans()))
        both = draw(st.booleans())
        directions = (*made.directions, replace(made.directions[0], reverse=True))[: 1 + both]
        merge: Merge = draw(st.sampled_from(("concat", "sum"))) if both else "concat"
        made = replace(made, directions=directions, merge=merge, name=f"l{k}")
        layers.append(made if cell == "rnn" else replace(made, gating=gating))
    return Network(tuple(layers))


@given(stacks())
def test_what_is_laid_out_is_read_as_the_same_network(network: Network) -> None:
    layout = lay_out(network, "keras", TARGET)
    found = keras.read(as_keras_model(layout), layout.part or None).network
    summed = []
    for each in network.layers:
        keeps = each.cell == "gru" and each.gating.reset_after
        one = [replace(d, bias_input=d.bias.astype("f4"), bias_recurrent=d.bias_recurrent * 0) for d in each.directions]
        summed.append(each if keeps else replace(each, directions=tuple(one)))
    assert_equal(found, Network(tuple(summed)))
    assert [each.formula for each in found.layers] == [each.formula for each in network.layers]


@pytest.mark.parametrize(
    ("network", "phrase"),
    [
        (gated("lstm", peepholes=True), "layer 0 has peepholes, which the LSTM of Keras has not"),
        (gated("lstm", P=2), "layer 0 is projected, and the LSTM of Keras is not"),
        (gated("lstm", cell_clip=3.0), "clips its cell state"),
        (gated("lstm", output="relu"), "the activation tanh of its candidate and relu of its cell state"),
        (gated("gru", activation="keras2_hard_sigmoid"), "hard_sigmoid of Keras 1 and 2"),
        (gated("gru", activation="clip(3)sigmoid"), "which Keras does not have"),
    ],
)
def test_what_keras_cannot_hold_is_refused(network: Network, phrase: str) -> None:
    with pytest.raises(UnsupportedError, match=phrase):
        lay_out(network, "keras", TARGET)


def test_a_gru_is_stored_z_r_h_and_an_lstm_i_f_c_o() -> None:
    arrays = weights(2, 3, gates=3)
    direction = read(gates("a", reset_after=False), arrays).network.layers[0].directions[0]
    for k, gate in enumerate((arrays[0][:, 3:6], arrays[0][:, :3], arrays[0][:, 6:])):  # r, z, n
        assert np.array_equal(direction.kernel[k], gate)
    assert np.array_equal(direction.bias_input[1], arrays[2][:3]) and not direction.bias_recurrent.any()
    arrays = weights(2, 3, gates=4)
    direction = read(gates("a", class_name="LSTM"), arrays).network.layers[0].directions[0]
    assert np.array_equal(np.concatenate([*direction.recurrent_kernel], axis=1), arrays[1])


def test_a_gru_that_resets_after_has_two_biases() -> None:
    arrays = weights(2, 3, gates=3)
    arrays[2] = np.stack([arrays[2], 2 * arrays[2]])
    reading = read(gates("a", reset_after=True), arrays)
    direction = reading.network.layers[0].directions[0]
    assert np.array_equal(direction.bias_recurrent, 2 * direction.bias_input) and direction.bias_input.any()
    assert reading.network.layers[0].gating.reset_after and not reading.open


@pytest.mark.parametrize(("version", "found"), [("2.0.4", False), ("2.15.0", False), ("3.6.0", False)])
def test_without_the_option_a_gru_resets_before(version: str, found: bool) -> None:
    layers = read(gates("a"), weights(2, 3, gates=3), version).network.layers
    assert layers[0].gating.reset_after is found


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1", "keras2_hard_sigmoid"),
        ("2.0.4", "keras2_hard_sigmoid"),
        ("2.2.4", "keras2_hard_sigmoid"),
        ("2.2.4-tf", "keras2_hard_sigmoid"),
        ("2.3.1", "sigmoid"),
        ("2.3.0-tf", "sigmoid"),
        ("2.15.0", "sigmoid"),
        ("3.0.5", "sigmoid"),
        ("2", "sigmoid"),
        ("0", "sigmoid"),
    ],
)
def test_the_gates_of_weights_alone_are_those_of_their_version(version: str, name: str) -> None:
    assert default_gates(version) == name
    if version not in ("0", "2"):
        reading = keras.read(held(None, {"a": named("a/", weights(2, 3, gates=4))}, version=version), None)
        assert reading.network.layers[0].gating.activation == name and reading.open == {"gate_activation"}
        assert "the class is LSTM: the weights do not say" in reading.assumptions


def test_the_form_of_a_gru_is_open_without_biases_alone() -> None:
    arrays = weights(2, 3, gates=3)
    for bias, open_ in (([], {"gate_activation", "reset"}), ([arrays[2]], {"gate_activation"})):
        reading = keras.read(held(None, {"a": named("a/", [*arrays[:2], *bias])}), None)
        assert reading.open == open_ and not reading.activation_stated
    both = np.stack([arrays[2]] * 2)
    reading = keras.read(held_by_group(None, numbered("layers/gru/cell", [*arrays[:2], both])), None)
    assert reading.network.layers[0].gating.reset_after and reading.open == {"gate_activation"}
    assert not any("the class" in text for text in reading.assumptions)


@pytest.mark.parametrize(("cell", "class_name"), [("gru", "CuDNNGRU"), ("lstm", "CuDNNLSTM")])
def test_cudnn_layers_hold_the_weights_of_plain_ones(cell: CellKind, class_name: str) -> None:
    """The way back is that of `_convert_rnn_weights` in tf_keras/src/saving/legacy/hdf5_format.py, from plain ones."""
    G = len(GATES[cell])
    plain = weights(2, 3, gates=G)
    plain[2] = np.stack([plain[2], 0.5 * plain[2]])
    kernels = [k.reshape(k.shape, order="C").T.reshape(k.shape) for k in np.split(plain[0], G, axis=1)]
    turned = [u.T for u in np.split(plain[1], G, axis=1)]
    arrays = [np.concatenate(kernels, axis=1), np.concatenate(turned, axis=1), plain[2].reshape(-1)]
    found = read(layer(class_name, "a", units=3, return_sequences=True), arrays)
    stored = {"gru": "zrn", "lstm": "ifgo"}[cell]
    direction = found.network.layers[0].directions[0]
    assert np.array_equal(np.concatenate([*reorder(direction.kernel, GATES[cell], stored)], axis=1), plain[0])
    assert np.array_equal(np.concatenate([*reorder(direction.recurrent_kernel, GATES[cell], stored)], axis=1), plain[1])
    biases = [reorder(b, GATES[cell], stored).reshape(-1) for b in (direction.bias_input, direction.bias_recurrent)]
    assert np.array_equal(np.stack(biases), plain[2])
    assert found.network.layers[0].gating == Gating() and found.activation_stated and not found.open
    alone = keras.read(held(None, {"a": named("a/", arrays)}), None)
    assert_equal(alone.network, found.network)
    assert alone.activation_stated and f"the class is {class_name}: the weights do not say" in alone.assumptions


@pytest.mark.parametrize(("cell", "order"), [("gru", "zrh"), ("lstm", "icfo")])
def test_one_array_for_each_gate_is_the_same_as_one_for_all(cell: CellKind, order: str) -> None:
    each = {gate: weights(2, 3) for gate in order}
    stored = {"gru": "zrh", "lstm": "ifco"}[cell]
    arrays = [np.concatenate([each[gate][role] for gate in stored], axis=-1) for role in range(3)]
    described = gates("a", class_name=cell.upper(), inner_activation="hard_sigmoid")
    described["config"].pop("recurrent_activation")
    together = read(described, arrays, "1.2.2").network
    listed = {f"a_{'WUb'[role]}_{gate}:0": each[gate][role] for gate in order for role in range(3)}
    numbers = {f"param_{k}": array for k, array in enumerate(listed.values())}
    for names in (listed, numbers):
        apart = keras.read(held(sequential(described), {"a": names}, version="1.2.2"), None)
        assert_equal(apart.network, together)
        assert apart.network.layers[0].gating.activation == "keras2_hard_sigmoid"
        assert not apart.recipe.loadable and "hard_sigmoid is that of Keras 1 and 2" in apart.recipe.why_not
        assert_equal(keras.read(held(None, {"a": names}, version="1.2.2"), None).network, together)


def test_cells_of_several_kinds_are_stacked() -> None:
    common = {"activation": "tanh", "use_bias": True, "recurrent_activation": "sigmoid"}
    cells = [
        layer("LSTMCell", "c", units=3, **common),
        layer("GRUCell", "d", units=4, reset_after=False, **common),
        layer("LSTMCell", "e", units=3, **common),
    ]
    arrays = [weights(2, 3, gates=4), weights(3, 4, gates=3), weights(4, 3, gates=4)]
    stored = rnn("a", class_name="RNN", cell=layer("StackedRNNCells", "s", cells=cells))
    for key in ("units", "activation", "use_bias"):
        stored["config"].pop(key)
    inner = zip(("lstm_cell", "gru_cell", "lstm_cell_1"), arrays, strict=True)
    tensors = {k: v for name, own in inner for k, v in numbered(f"layers/rnn/cell/cells/{name}", own).items()}
    reading = keras.read(held_by_group(sequential(stored), tensors), None)
    assert [each.cell for each in reading.network.layers] == ["lstm", "gru", "lstm"]
    assert np.array_equal(reading.network.layers[2].directions[0].kernel[3], arrays[2][0][:, 9:])
    alone = keras.read(held_by_group(None, tensors), None)
    assert_equal(alone.network, reading.network)


def test_weights_alone_do_not_tell_the_order_of_cells_of_one_size() -> None:
    arrays = {"gru_cell": weights(3, 3, gates=3), "lstm_cell": weights(3, 3, gates=4)}
    tensors = {k: v for name, own in arrays.items() for k, v in numbered(f"layers/rnn/cell/cells/{name}", own).items()}
    with pytest.raises(UnsupportedError, match="stacks cells of several classes, and weights do not tell their order"):
        keras.read(held_by_group(None, tensors), None)


@pytest.mark.parametrize(
    ("case", "cell", "gate", "open_"),
    [
        ("keras-0.3.3-theano/gru_rb_hs_weights/weights.h5", "gru", "keras2_hard_sigmoid", set()),
        ("keras-1.1.2/lstm_hs_consume_gpu/model.h5", "lstm", "keras2_hard_sigmoid", set()),
        ("keras-1.2.2/gru_rb_weights/weights.h5", "gru", "keras2_hard_sigmoid", {"gate_activation"}),
        ("keras-1.2.2/lstm_bi_weights/weights.h5", "lstm", "keras2_hard_sigmoid", {"gate_activation"}),
        ("keras-2.2.4/gru_ra_bi_h5/model.h5", "gru", "sigmoid", set()),
        ("keras-2.2.4/lstm_hs_h5/model.h5", "lstm", "keras2_hard_sigmoid", set()),
        ("tf.keras-2.1.4/gru_rb_tfweights/weights", "gru", "sigmoid", {"gate_activation"}),
        ("tf.keras-2.4.4/lstm_a_savedmodel_nt/saved_model", "lstm", "sigmoid", set()),
        ("keras-3.15.1/lstm_hs3_keras/model.keras", "lstm", "hard_sigmoid", set()),
        ("keras-3.15.1/gru_nobias_h5/model.h5", "gru", "sigmoid", set()),
    ],
)
def test_genuine_files(case: str, cell: str, gate: str, open_: set[str]) -> None:
    reading = keras.read(open_model(GENUINE / case), None)
    assert [each.cell for each in reading.network.layers] == [cell]
    assert reading.network.layers[0].gating.activation == gate and reading.open == open_

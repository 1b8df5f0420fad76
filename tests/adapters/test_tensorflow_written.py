"""Gated networks as TensorFlow's cells hold them: what is written is read again, what they cannot hold is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import direction, gated, gates, mixed
from tf_cells import holding

from rnnverify import reference
from rnnverify.adapters.layouts import lay_out
from rnnverify.adapters.tensorflow import adapter as tensorflow
from rnnverify.canonical import Array, CellKind, Direction, Gating, Layer, Network
from rnnverify.conversion import convert
from rnnverify.errors import UnsupportedError
from rnnverify.jobs import Order
from rnnverify.native import Runners
from rnnverify.runner_process import Limits
from rnnverify.sides import open_side, parse
from rnnverify.trace import Batch
from rnnverify.verify import compare

TARGET = Path("target")
FIXTURES = Path(__file__).parents[2] / "fixtures"


def added(one: Direction, forget_bias: float) -> Direction:
    """`one` as it is read from a file: with one bias, and what its cell adds apart."""
    recurrent = np.zeros_like(one.bias_recurrent)
    recurrent[1] = forget_bias
    return replace(one, bias_recurrent=recurrent)


@st.composite
def stacks(draw: st.DrawFn) -> Network:
    """Up to three layers that cells of TensorFlow hold, forward or both ways, as a checkpoint leaves nothing out."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 3))
    both = draw(st.booleans())
    for _ in range(draw(st.integers(1, 3))):
        H, cell = draw(st.integers(1, 3)), draw(st.sampled_from(get_args(CellKind)))
        ends = (False, True) if both else (False,)
        if cell == "rnn":
            made = [replace(d, bias_recurrent=d.bias_recurrent * 0) for d in (direction(rng, I, H) for _ in ends)]
        elif cell == "gru":
            made = [gates(rng, "gru", I, H) for _ in ends]
            made = [replace(d, bias_recurrent=d.bias_recurrent * 0) for d in made]
        else:
            P, peepholes = draw(st.integers(0, 2)), draw(st.booleans())
            made = [added(gates(rng, "lstm", I, H, P=P, peepholes=peepholes), 1.0) for _ in ends]
        turned = tuple(replace(d, reverse=end) for d, end in zip(made, ends, strict=True))
        layers.append(Layer(turned, cell=cell, gating=Gating(reset_after=cell != "gru")))
        I = layers[-1].output_size
    return Network(tuple(layers))


@given(stacks())
def test_what_is_laid_out_is_read_again(network: Network) -> None:
    layout = lay_out(network, "tensorflow", TARGET)
    found = tensorflow.read(holding(layout.tensors), layout.part or None).network
    pairs = list(zip(found.tensors(), network.tensors(), strict=True))
    for (name, a), (other, b) in pairs:
        assert name == other and np.array_equal(a, b), name
    assert [layer.cell for layer in found.layers] == [layer.cell for layer in network.layers]


def y_of(network: Network, x: Array) -> Array:
    return reference.run(network, (Batch("zero", x),)).runs["zero"].y


@given(st.integers(0, 2**32 - 1))
def test_biases_of_other_frameworks_are_stored_less_the_forget_bias(seed: int) -> None:
    network = gated("lstm", seed=seed)
    (one,) = network.layers[0].directions
    layout = lay_out(network, "tensorflow", TARGET)
    stored = layout.tensors["rnn/basic_lstm_cell/bias"].astype(np.float64)
    np.testing.assert_allclose(stored[8:12], one.bias[1] - 1, atol=2e-7)
    np.testing.assert_allclose(stored[4:8], one.bias[2], atol=2e-7)
    assert "its LSTM cells have a forget_bias of 1, by which the bias stored is less" in layout.notes
    found = tensorflow.read(holding(layout.tensors), None).network
    x = np.random.default_rng(seed).normal(size=(2, 5, 3))
    assert np.abs(y_of(found, x) - y_of(network, x)).max() < 2e-6


def test_what_the_network_has_apart_is_kept_apart() -> None:
    (layer,) = gated("lstm").layers
    one = added(layer.directions[0], 0.25)
    layout = lay_out(Network((replace(layer, directions=(one,)),)), "tensorflow", TARGET)
    np.testing.assert_array_equal(layout.tensors["rnn/basic_lstm_cell/bias"][:4], one.bias_input[0])
    assert layout.layers[0]["cells"][0]["forget_bias"] == [0.25]


def test_names_are_those_of_tensorflow() -> None:
    before = {"reset_after": False}
    assert {*lay_out(gated("gru", **before), "tensorflow", TARGET).tensors} == {
        f"rnn/gru_cell/{part}/{role}" for part in ("gates", "candidate") for role in ("kernel", "bias")
    }
    assert {*lay_out(gated("lstm", P=2, peepholes=True), "tensorflow", TARGET).tensors} == {
        f"rnn/lstm_cell/{name}" for name in ("kernel", "bias", "w_i_diag", "w_f_diag", "w_o_diag", "projection/kernel")
    }
    (clipped,) = lay_out(gated("lstm", cell_clip=2.0), "tensorflow", TARGET).layers
    assert (clipped["cells"][0]["class"], clipped["cells"][0]["cell_clip"]) == ("LSTMCell", 2.0)


def looking_one_way() -> Network:
    rng = np.random.default_rng(0)
    ways = (gates(rng, "lstm", 3, 4, peepholes=True), gates(rng, "lstm", 3, 4, reverse=True))
    return Network((Layer(ways, cell="lstm"),))


@pytest.mark.parametrize(
    ("network", "found"),
    [
        (gated("gru"), "resets after the recurrent product, and a GRUCell does so before it"),
        (gated("lstm", activation="hard_sigmoid"), "has the gate activation hard_sigmoid"),
        (gated("lstm", output="relu"), "has the activation relu of its cell state"),
        (looking_one_way(), "has peepholes in one direction only"),
        (mixed(), "layer 1 resets after"),
    ],
)
def test_what_no_cell_holds_is_refused_by_name(network: Network, found: str) -> None:
    with pytest.raises(UnsupportedError, match=rf"^target: layer \d .*{found}|^target: {found}"):
        lay_out(network, "tensorflow", TARGET)


@pytest.mark.parametrize(
    ("source", "verdicts"),
    [
        ("gates/all_of_lstm.pb", {"IDENTICAL"}),
        ("gates/both_ways.pb", {"IDENTICAL"}),
        ("gates/mixed.pb", {"IDENTICAL"}),
        ("gates/coupled.pb", {"EQUIVALENT"}),
    ],
)
def test_what_tensorflow_writes_is_the_network(source: str, verdicts: set[str], tmp_path: Path) -> None:
    made = convert(FIXTURES / source, tmp_path / "m.ckpt", to="ckpt")
    assert made.verdict in verdicts
    assert (tmp_path / "m.ckpt.meta").exists()


def test_another_order_of_gates_is_another_network(tmp_path: Path) -> None:
    """The order i, f, j, o of Keras and PyTorch, written into a checkpoint as it is."""
    source = FIXTURES / "genuine/tf-2.1.4-compat.v1/lstm_proj_ckpt/model.ckpt"
    found = open_side(parse(str(source), "A")).network
    assert found is not None
    layout = lay_out(found, "tensorflow", TARGET)

    def exchanged(array: Array) -> Array:
        i, j, f, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, f, j, o], axis=-1)

    wrong = {n: a if "projection" in n else exchanged(a) for n, a in layout.tensors.items()}
    with Runners(Limits()) as runners:
        order = Order("B", replace(layout, tensors=wrong), found.input_size, tmp_path / "wrong.ckpt", "ckpt")
        runners.write(order)
    assert compare(source, tmp_path / "wrong.ckpt").verdict == "DIFFERENT"

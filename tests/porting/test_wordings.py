"""What is no weight, in the words of each framework."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from in_every_layout import opened
from networks import bidirectional, gated, single

from rnnverify.canonical import Layer
from rnnverify.containers.contents import FrameworkName
from rnnverify.porting.wordings import WORDINGS, Code, beyond, call

GRU = gated("gru", 3, 4, reset_after=False, activation="hard_sigmoid").layers[0]
SOURCES: dict[FrameworkName, str] = {
    "torch": "rnn.pt",
    "keras": "simple_rnn.h5",
    "tensorflow": "basic_rnn_cell.ckpt",
    "onnx": "genuine/onnx-from-torch-1.12.1/lstm_a_onnx/model.onnx",
    "flax": "gru_nnx.msgpack",
    "equinox": "gru.eqx",
}


def layer_of(framework: FrameworkName, layer: Layer, fixtures: Path) -> str:
    reading = opened(fixtures / SOURCES[framework]).reading
    assert reading
    return WORDINGS[framework].layer(layer, reading)


@pytest.mark.parametrize(
    ("framework", "layer", "words"),
    [
        ("torch", single(activation="relu").layers[0], 'torch.nn.RNN(3, 4, nonlinearity="relu")'),
        (
            "keras",
            GRU,
            'keras.layers.GRU(4, activation="tanh", recurrent_activation="hard_sigmoid", reset_after=False, '
            "return_sequences=True)",
        ),
        (
            "tensorflow",
            gated("lstm", 3, 4, peepholes=True).layers[0],
            "tf.compat.v1.nn.rnn_cell.LSTMCell(4, activation=tf.nn.tanh, forget_bias=1.0, use_peepholes=True)",
        ),
        (
            "onnx",
            gated("gru", 3, 4, reset_after=False).layers[0],
            "# of the node: direction='forward', hidden_size=4, activations=['Sigmoid', 'Tanh'], linear_before_reset=0",
        ),
        ("flax", GRU, "nn.GRUCell(4, activation_fn=jax.nn.tanh, gate_fn=jax.nn.hard_sigmoid)"),
        ("equinox", GRU, "equinox.nn.GRUCell(3, 4, key=key)"),
    ],
)
def test_a_layer_is_made(framework: FrameworkName, layer: Layer, words: str, fixtures: Path) -> None:
    assert layer_of(framework, layer, fixtures) == words


def test_which_way_it_runs_is_another_matter(fixtures: Path) -> None:
    backward = replace(single().layers[0].directions[0], reverse=True)
    layer = replace(single().layers[0], directions=(backward,), time_restored=False)
    assert layer_of("torch", layer, fixtures) == 'torch.nn.RNN(3, 4, nonlinearity="tanh")'


def test_what_a_framework_cannot_compute_is_one_sentence() -> None:
    assert (
        beyond("torch", 1, GRU) == "layer 1 has gates of the activation hard_sigmoid, and nn.GRU has the sigmoid only"
    )
    assert beyond("keras", 0, GRU) == ""


def test_merges() -> None:
    (layer,) = bidirectional(merge="sum").layers
    assert WORDINGS["torch"].merge(layer) == "y = y[..., :4] + y[..., 4:]"
    assert WORDINGS["flax"].merge(layer) == "nn.Bidirectional(forward, backward, merge_fn=lambda a, b: a + b)"
    beside = replace(layer, merge="concat")
    assert WORDINGS["tensorflow"].merge(beside) == "y = tf.concat([outputs[0], outputs[1]], -1)"
    assert WORDINGS["keras"].merge(beside) == 'keras.layers.Bidirectional(layer, merge_mode="concat")'


def test_orders() -> None:
    forward = single().layers[0]
    backward = replace(forward, directions=(replace(forward.directions[0], reverse=True),))
    assert list(WORDINGS["torch"].order(backward, True)) == ["x = x.flip(1)", "y = y.flip(1)"]
    assert list(WORDINGS["torch"].order(forward, True)) == ["x = x.flip(1)  # once, not twice"]
    assert list(WORDINGS["keras"].order(backward, True))[-1] == "y = y[:, ::-1]"
    assert list(WORDINGS["flax"].order(backward, True)) == ["nn.RNN(cell, reverse=True, keep_order=True)"]


def test_calls_leave_out_what_is_not_stated() -> None:
    assert call("f", 1, a="b", c=None, d=Code("e"), g=2.0) == 'f(1, a="b", d=e, g=2.0)'

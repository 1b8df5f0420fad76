"""Gated layers in PyTorch's layout: read back as the same network, and what no module holds is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import direction, edited, gated, gates, mixed, single
from test_layouts import assert_equal, read_torch

from rnnverify.adapters.torch.layout import lay_out
from rnnverify.canonical import CellKind, Gating, Layer, Network
from rnnverify.errors import UnsupportedError

TARGET = Path("target")


@st.composite
def held(draw: st.DrawFn) -> Network:
    """Stacks of up to four layers of any kind that PyTorch holds."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers: list[Layer] = []
    I = draw(st.integers(1, 4))
    for _ in range(draw(st.integers(1, 4))):
        cell: CellKind = draw(st.sampled_from(("rnn", "gru", "lstm")))
        H = draw(st.integers(2, 4))
        P = draw(st.integers(0, H - 1)) if cell == "lstm" else 0
        ways = draw(st.sampled_from(((False,), (False, True))))
        layers.append(Layer(tuple(gates(rng, cell, I, H, P=P, reverse=reverse) for reverse in ways), cell=cell))
        I = layers[-1].output_size
    return Network(tuple(layers))


@given(held())
def test_read_after_lay_out_is_the_identity(network: Network) -> None:
    found = read_torch(lay_out(network, TARGET))
    assert_equal(found, network)
    assert [layer.formula for layer in found.layers] == [layer.formula for layer in network.layers]


def test_one_module_holds_layers_of_one_kind_and_size() -> None:
    rng = np.random.default_rng(0)
    lstm = [Layer((gates(rng, "lstm", I, 4, P=3),), cell="lstm") for I in (5, 3)]
    layout = lay_out(
        Network((*lstm, Layer((gates(rng, "gru", 3, 4),), cell="gru"), Layer((direction(rng, 4, 4),)))), TARGET
    )
    facts = [(made["module"], made["num_layers"], made["proj_size"]) for made in layout.layers]
    assert facts == [("LSTM", 2, 3), ("GRU", 1, 0), ("RNN", 1, 0)]
    assert [*layout.tensors][4] == "rnn.weight_hr_l0" and layout.part == "rnn+rnn_1+rnn_2"
    apart = Network((lstm[0], Layer((gates(rng, "lstm", 3, 4),), cell="lstm")))
    assert [made["proj_size"] for made in lay_out(apart, TARGET).layers] == [3, 0]


def test_a_forget_bias_alone_becomes_a_bias() -> None:
    zeros = np.zeros((4, 4), np.float32)
    forget = zeros.copy()
    forget[1] = 1
    tensors = lay_out(edited(gated("lstm"), bias_input=zeros, bias_recurrent=forget, has_bias=False), TARGET).tensors
    assert tensors["bias_hh_l0"].tolist() == [0] * 4 + [1] * 4 + [0] * 8
    none = edited(gated("lstm"), bias_input=zeros, bias_recurrent=zeros, has_bias=False)
    assert "bias_hh_l0" not in lay_out(none, TARGET).tensors


@pytest.mark.parametrize(
    ("cell", "facts", "words"),
    [
        ("gru", {"reset_after": False}, "resets the state before the recurrent product, and nn.GRU resets after it"),
        ("gru", {"activation": "hard_sigmoid"}, "gates of the activation hard_sigmoid, and nn.GRU has the sigmoid"),
        ("lstm", {"output": "relu"}, "has the output activation relu, and nn.LSTM has tanh only"),
        ("lstm", {"cell_clip": 2.0}, "clips its cell state at 2, and nn.LSTM does not"),
        ("lstm", {"peepholes": True}, "has peepholes, and nn.LSTM has none"),
        ("lstm", {"P": 4}, "is projected from 4 units to 4, and nn.LSTM projects to fewer only"),
    ],
)
def test_what_torch_lacks_is_refused_by_name(cell: CellKind, facts: dict[str, Any], words: str) -> None:
    assert lay_out(gated(cell), TARGET)
    with pytest.raises(UnsupportedError, match=f"^target: layer 0 .*{words}"):
        lay_out(gated(cell, **facts), TARGET)


def test_facts_of_a_layer_are_refused_as_those_of_a_vanilla_one() -> None:
    with pytest.raises(UnsupportedError, match=r"layer 1 runs backward only, and nn\.GRU runs forward or both ways"):
        lay_out(mixed(), TARGET)
    layer = replace(gated("gru").layers[0], activation="relu")
    with pytest.raises(UnsupportedError, match=r"has the activation relu, and nn\.GRU has tanh only"):
        lay_out(Network((layer,)), TARGET)
    vanilla = replace(single().layers[0], gating=Gating("relu", reset_after=False))  # means nothing without gates
    assert lay_out(Network((vanilla,)), TARGET)

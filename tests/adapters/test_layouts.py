"""Layouts written are the inverse of those read, for every network that a framework can hold; others are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_models import held, layer, rnn, sequential
from networks import MERGES, bidirectional, direction, edited, networks, single, stacked
from tf_cells import holding

from rnnverify.activations import ACTIVATIONS
from rnnverify.adapters import ADAPTERS
from rnnverify.adapters.keras import adapter as keras
from rnnverify.adapters.layout import plain_names
from rnnverify.adapters.layouts import LAYOUTS, Layout, lay_out
from rnnverify.adapters.tensorflow import adapter as tensorflow
from rnnverify.adapters.torch import adapter as torch
from rnnverify.canonical import Layer, Network
from rnnverify.containers.contents import Contents
from rnnverify.errors import UnsupportedError

TARGET = Path("target")


def alone(layer: Layer) -> bool:
    return not layer.bidirectional and layer.directions[0].reverse


def torch_can(network: Network) -> bool:
    return all(
        layer.activation in ("tanh", "relu") and layer.merge == "concat" and not alone(layer)
        for layer in network.layers
    )


def keras_can(network: Network) -> bool:
    return not any(alone(layer) and layer.time_restored for layer in network.layers)


def tensorflow_can(network: Network) -> bool:
    over = zip(network.layers, network.layers[1:], strict=False)
    lost = any(not below.time_restored and any(d.reverse for d in above.directions) for below, above in over)
    return not lost and not any(layer.bidirectional and layer.merge == "ave" for layer in network.layers)


def one_bias(network: Network) -> Network:
    """What a framework with one bias can hold: the sum, rounded once."""
    layers = []
    for each in network.layers:
        summed = [
            replace(d, bias_input=d.bias.astype(d.kernel.dtype), bias_recurrent=d.bias_recurrent * 0)
            for d in each.directions
        ]
        layers.append(replace(each, directions=tuple(summed)))
    return Network(tuple(layers))


def assert_equal(found: Network, wanted: Network) -> None:
    """The weights bit for bit, and their dtype."""
    pairs = list(zip(found.tensors(), wanted.tensors(), strict=True))
    assert len(pairs) > 3
    for (name, a), (other, b) in pairs:
        assert name == other and np.array_equal(a, b), name
    assert found.dtype == wanted.dtype


def read_torch(layout: Layout) -> Network:
    contents = replace(holding(layout.tensors), form="PyTorch zip", framework="torch")
    return torch.read(contents, layout.part or None).network


def as_keras_model(layout: Layout) -> Contents:
    """The `.h5` that Keras would write of these layers."""
    listed, groups = [], {}
    for spec in layout.layers:
        facts = {key: spec[key] for key in ("units", "activation", "use_bias", "go_backwards")}
        inner = rnn(spec["name"], class_name=spec["class"], **facts, **spec["gates"])
        both = spec["bidirectional"]
        listed.append(
            layer("Bidirectional", spec["name"], layer=inner, merge_mode=spec["merge_mode"]) if both else inner
        )
        names = [name for half in spec["tensors"] for name in half]
        groups[spec["name"]] = {name.partition("/")[2]: layout.tensors[name] for name in names}
    return held(sequential(*listed), groups, version="3.15.1")


@given(networks(activations=("tanh", "relu")))
def test_pytorch_gives_the_network_back_or_refuses_it(network: Network) -> None:
    if not torch_can(network):
        with pytest.raises(UnsupportedError, match=r"^target: layer \d .*nn.RNN"):
            lay_out(network, "torch", TARGET)
        return
    assert_equal(read_torch(lay_out(network, "torch", TARGET)), network)


@given(networks())
def test_keras_gives_the_network_back_or_refuses_it(network: Network) -> None:
    if not keras_can(network):
        with pytest.raises(UnsupportedError, match=r"^target: layer \d runs backward and turns its outputs back"):
            lay_out(network, "keras", TARGET)
        return
    layout = lay_out(network, "keras", TARGET)
    found = keras.read(as_keras_model(layout), layout.part or None).network
    assert_equal(found, one_bias(network))
    for mine, theirs in zip(found.layers, network.layers, strict=True):
        assert (mine.activation, mine.merge, mine.time_restored) == (
            theirs.activation,
            theirs.merge,
            theirs.time_restored,
        )
        assert [d.reverse for d in mine.directions] == [d.reverse for d in theirs.directions]


@given(networks())
def test_tensorflow_gives_the_weights_back_or_refuses_the_network(network: Network) -> None:
    """Names alone state no direction of a single one, and no merge: the graph beside them does, which Saver writes."""
    if not tensorflow_can(network):
        with pytest.raises(
            UnsupportedError, match=r"^target: layer \d (merges its directions by ave|leaves its outputs)"
        ):
            lay_out(network, "tensorflow", TARGET)
        return
    if any(layer.bidirectional and layer.merge != "concat" for layer in network.layers[:-1]):
        return  # the sizes do not fit without the graph; the files of `test_conversion` have it
    layout = lay_out(network, "tensorflow", TARGET)
    found = tensorflow.read(holding(layout.tensors), layout.part or None).network
    forward = [
        replace(x, directions=tuple(replace(d, reverse=k == 1) for k, d in enumerate(x.directions)))
        for x in network.layers
    ]
    assert_equal(found, one_bias(Network(tuple(forward))))


def test_every_framework_that_is_read_is_written() -> None:
    assert set(LAYOUTS) - set(ADAPTERS) == {"nnx"} and set(ADAPTERS) <= set(LAYOUTS)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name not in ("tanh", "relu")])
def test_activations_that_a_framework_lacks(name: str) -> None:
    network = single(activation=name)
    with pytest.raises(UnsupportedError, match=f"layer 0 has the activation {name}, and nn.RNN has tanh and relu only"):
        lay_out(network, "torch", TARGET)
    if name == "keras2_hard_sigmoid":
        with pytest.raises(
            UnsupportedError, match=r"hard_sigmoid of Keras 1 and 2.*; convert to a TensorFlow checkpoint"
        ):
            lay_out(network, "keras", TARGET)
    else:
        assert lay_out(network, "keras", TARGET).layers[0]["activation"] == name
    if name in ("celu", "hard_tanh", "hard_silu", "log_sigmoid", "tanh_shrink", "squareplus"):
        with pytest.raises(UnsupportedError, match="for which TensorFlow has no function; convert to a Keras file"):
            lay_out(network, "tensorflow", TARGET)
    else:
        assert lay_out(network, "tensorflow", TARGET).layers[0]["cells"][0]["activation"] == name


def test_one_module_holds_what_it_can() -> None:
    alike = stacked(3, (4, 4))
    assert list(lay_out(alike, "torch", TARGET).tensors)[4:] == [
        "weight_ih_l1",
        "weight_hh_l1",
        "bias_ih_l1",
        "bias_hh_l1",
    ]
    apart = lay_out(stacked(3, (4, 5)), "torch", TARGET)
    assert apart.part == "rnn+rnn_1" and len(apart.layers) == 2
    mixed = Network((alike.layers[0], replace(alike.layers[1], activation="relu")))
    assert [spec["nonlinearity"] for spec in lay_out(mixed, "torch", TARGET).layers] == ["tanh", "relu"]


def test_names_that_are_given_are_kept() -> None:
    alike = stacked(3, (4, 4))
    assert [*lay_out(alike, "torch", TARGET, ["encoder.rnn"] * 2).tensors][-1] == "encoder.rnn.bias_hh_l1"
    two = lay_out(alike, "torch", TARGET, ["below", "above"])
    assert two.part == "below+above" and [*two.tensors][-1] == "above.bias_hh_l0"
    assert next(iter(lay_out(single(), "torch", TARGET, [""]).tensors)) == "weight_ih_l0"
    assert [spec["name"] for spec in lay_out(alike, "keras", TARGET, ["low", "high"]).layers] == ["low", "high"]
    scoped = lay_out(alike, "tensorflow", TARGET, ["my/rnn"] * 2)
    assert next(iter(scoped.tensors)) == "my/rnn/multi_rnn_cell/cell_0/basic_rnn_cell/kernel"


def test_scopes_are_those_of_tensorflow() -> None:
    def names(network: Network) -> list[str]:
        return [name for name in lay_out(network, "tensorflow", TARGET).tensors if name.endswith("kernel")]

    assert names(single()) == ["rnn/basic_rnn_cell/kernel"]
    assert names(bidirectional()) == [f"bidirectional_rnn/{way}/basic_rnn_cell/kernel" for way in ("fw", "bw")]
    rng = np.random.default_rng(0)
    above = Layer((direction(rng, 8, 4), direction(rng, 8, 4, reverse=True)))
    assert names(Network((bidirectional().layers[0], above)))[2:] == [
        f"stack_bidirectional_rnn/cell_1/bidirectional_rnn/{way}/basic_rnn_cell/kernel" for way in ("fw", "bw")
    ]


def test_without_bias() -> None:
    zeros = np.zeros((1, 4), np.float32)
    network = edited(single(), bias_input=zeros, bias_recurrent=zeros, has_bias=False)
    assert [*lay_out(network, "torch", TARGET).tensors] == ["weight_ih_l0", "weight_hh_l0"]
    assert lay_out(network, "keras", TARGET).layers[0]["use_bias"] is False
    layout = lay_out(network, "tensorflow", TARGET)
    assert not layout.tensors["rnn/basic_rnn_cell/bias"].any()
    assert layout.notes == ("a BasicRNNCell always has a bias: where there was none, zeros are stored",)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_dtype_is_kept_and_a_sum_rounded_once(dtype: str) -> None:
    rng = np.random.default_rng(1)
    network = Network((Layer((direction(rng, 3, 64, dtype=dtype),)),))
    for framework in set(LAYOUTS) - {"equinox"}:  # which has no vanilla cell
        layout = lay_out(network, framework, TARGET)
        assert {array.dtype.name for array in layout.tensors.values()} == {dtype}
    both = network.layers[0].directions[0]
    exact = both.bias_input[0].astype(np.longdouble) + both.bias_recurrent[0].astype(np.longdouble)
    bias = lay_out(network, "keras", TARGET).tensors["rnn/bias"]
    assert np.array_equal(bias, exact.astype(dtype))
    assert "the two biases are stored as one, their sum rounded once" in lay_out(network, "keras", TARGET).notes


def test_a_sum_of_biases_that_is_too_large() -> None:
    large = np.full((1, 4), 60000, np.float16)
    half = single().mapped(lambda w: w.astype(np.float16))
    network = edited(half, bias_input=large, bias_recurrent=large)
    for framework in ("keras", "tensorflow"):
        with pytest.raises(
            UnsupportedError, match="the biases of layer 0 add up to more than float16 holds; convert to"
        ):
            lay_out(network, framework, TARGET)
    assert lay_out(network, "torch", TARGET).tensors["bias_hh_l0"][0] == 60000


def test_mixed_dtypes_are_widened_and_said() -> None:
    network = edited(single(), bias_input=np.ones((1, 4), np.float16))
    layout = lay_out(network, "torch", TARGET)
    assert layout.tensors["bias_ih_l0"].dtype == np.float32
    assert "weights in float16 are stored as float32, which holds their values" in layout.notes


@given(st.lists(st.text(alphabet="ab_/. 0é\x00", max_size=6), min_size=1, max_size=8))
def test_plain_names_are_identifiers_and_each_comes_once(wanted: list[str]) -> None:
    found = plain_names(wanted, "rnn")
    assert len(set(found)) == len(found) == len(wanted)
    assert all(name.isidentifier() and name.isascii() for name in found)


def test_plain_names_keep_what_a_user_chose() -> None:
    scopes = ["encoder/multi_rnn_cell/cell_0/basic_rnn_cell", "encoder/multi_rnn_cell/cell_1/basic_rnn_cell"]
    assert plain_names(scopes, "rnn") == ["encoder", "encoder_1"]
    assert plain_names(["module.below layer 0", "layer 1", "simple_rnn_1", "9"], "rnn") == [
        "below",
        "rnn",
        "simple_rnn_1",
        "rnn_1",
    ]


def test_all_merges_are_tried() -> None:
    """The property tests draw from these: what one framework refuses, another one holds."""
    for merge in MERGES:
        network = bidirectional(merge=merge)
        held_by = [can(network) for can in (torch_can, keras_can, tensorflow_can)]
        assert held_by == [merge == "concat", True, merge != "ave"]
